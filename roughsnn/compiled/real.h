// The precision that a library is compiled for.

#pragma once

#ifndef REAL
#define REAL double
#endif

namespace roughsnn {
// Nothing is shared with the library of the other precision, which a process may hold as well.
namespace {

using Real = REAL;

}  // namespace
}  // namespace roughsnn

#define ROUGHSNN_INLINE __attribute__((always_inline)) inline
