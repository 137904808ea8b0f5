// Work that the threads of XLA's pool share out among them.

#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>

#include "xla/ffi/api/ffi.h"

namespace roughsnn {
namespace {

// Calls `make()` once in each thread that takes part, and what it returns with 0, ..., total - 1.
//
// Whoever calls takes part itself and waits only for numbers that some thread is at, never for a
// task of the pool to begin: a pool whose threads all wait here cannot come to a halt.
template <class Make>
void share_out(xla::ffi::ThreadPool& pool, std::int64_t total, Make make) {
  struct Work {
    std::atomic<std::int64_t> next{0};
    std::int64_t done = 0;
    std::exception_ptr failure;
    std::mutex mutex;
    std::condition_variable all_done;
  };
  const auto work = std::make_shared<Work>();
  auto take_part = [work, total, &make] {
    std::int64_t number = work->next++;
    if (number >= total) return;  // `make` may be gone by now.
    std::int64_t count = 0;
    std::exception_ptr failure;
    try {
      auto run = make();
      for (; number < total; number = work->next++) {
        ++count;
        run(number);
      }
    } catch (...) {
      failure = std::current_exception();
      // What is left is taken and not done.
      count = std::max<std::int64_t>(count, 1);
      while (work->next++ < total) ++count;
    }
    std::lock_guard<std::mutex> lock(work->mutex);
    work->done += count;
    if (failure) work->failure = failure;
    if (work->done == total) work->all_done.notify_all();
  };
  const std::int64_t helpers = std::min<std::int64_t>(pool.num_threads(), total) - 1;
  for (std::int64_t i = 0; i < helpers; ++i) {
    auto task = take_part;
    pool.Schedule(std::move(task));
  }
  take_part();
  std::unique_lock<std::mutex> lock(work->mutex);
  work->all_done.wait(lock, [&] { return work->done == total; });
  if (work->failure) std::rethrow_exception(work->failure);
}

}  // namespace
}  // namespace roughsnn
