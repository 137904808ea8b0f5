// Sweeps over the grid of pieces of pairs of spike trains, `kLanes` pairs side by side.
//
// The recursion is that of `_event_sweep.py`, the derivatives are those of `_event_gradient.py`.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <new>
#include <vector>

#include "edge_series.h"

namespace roughsnn {
namespace {

// Memory for vectors that grows and is not cleared.
class Room {
 public:
  Room() = default;
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;
  ~Room() { std::free(start_); }

  Vector* of(std::int64_t size) {
    if (size > size_) {
      std::free(start_);
      size_ = 0;
      start_ = static_cast<Vector*>(std::aligned_alloc(64, (size * sizeof(Vector) + 63) / 64 * 64));
      if (start_ == nullptr) throw std::bad_alloc();
      size_ = size;
    }
    return start_;
  }

  Vector* cleared(std::int64_t size) {
    Vector* start = of(size);
    std::fill(start, start + size, Vector{});
    return start;
  }

 private:
  Vector* start_ = nullptr;
  std::int64_t size_ = 0;
};

// Pairs side by side. Padding is pieces of length zero and no jumps, at the end.
struct Pairs {
  // Jumps of the pair that has most, of `x` and of `y`.
  int jumps_x = 0, jumps_y = 0;
  // Pieces of time, one more than jumps.
  Vector *gaps_x = nullptr, *gaps_y = nullptr;
  // Where jumps have one label and only equal labels meet: the label of each, as a number, other
  // numbers for no jump in `x` and in `y`; and the inner product of a jump of `x` with its like.
  Vector *marks_x = nullptr, *marks_y = nullptr, *squares_x = nullptr;
  // Otherwise: labels by jump, slot and lane.
  std::vector<std::int32_t> labels_x, labels_y;
};

// Derivatives of the kernels with respect to pieces of time, to the entry of the table of each jump
// of `x`, or to the entries of all pairs of jumps.
struct Derivatives {
  Vector *gaps_x = nullptr, *gaps_y = nullptr, *jumps_x = nullptr, *entries = nullptr;
};

struct Settings {
  Series time, jump;
  bool diagonal, by_entry;
  int slots_x, slots_y;
  // Inner products of jumps by label; the last label is no jump.
  const Real* table;
  int num_labels;
};

class Sweeper {
 public:
  explicit Sweeper(const Settings& settings)
      : s_(settings),
        time_(settings.time.order),
        jump_(settings.jump.order),
        cell_(1 + 2 * (time_ - 1) + 1 + (jump_ - 1) * (settings.by_entry ? 2 : 1)) {}

  Pairs pairs;
  Vector value{}, error{};
  Derivatives derivatives;

  // Sets `value` and `error`.
  void forwards() {
    State past = begin(past_room_);
    for (int row = 0; row < pairs.jumps_x; ++row) this->row<kPlain, false>(past, row);
    value = row<kPlain, true>(past, pairs.jumps_x);
    error = past.error;
  }

  // Sets `derivatives` too. A first sweep stores its edges, a second one, backwards, meets them.
  // Where that takes more room than a cache has, the first one stores only the edges that segments
  // of rows start from, and goes over each segment again before it is met.
  void with_derivatives() {
    const int rows = pairs.jumps_x, columns = pairs.jumps_y + 1;
    row_size_ = std::int64_t(columns) * cell_;
    int segment = std::max(rows, 1);
    if ((rows + 1) * row_size_ > kStore) {
      const int fits = int(kStore / row_size_) - 1;
      segment = std::min(segment, std::max(fits, int(std::lround(std::sqrt(double(rows))))));
    }
    const int number = rows == 0 ? 1 : (rows + segment - 1) / segment;
    stored_ = store_room_.of((segment + 1) * row_size_);
    const std::int64_t edges = std::int64_t(columns) * (time_ + jump_);
    Vector* starts = starts_room_.of(number * edges);

    Vector* room = derivatives_room_.cleared(
        2 * rows + 1 + columns + (s_.by_entry ? std::int64_t(rows) * pairs.jumps_y : 0));
    derivatives = {room, room + rows + 1, room + rows + 1 + columns, room + 2 * rows + 1 + columns};

    State past = begin(past_room_), future = begin(future_room_);
    for (int part = 0; part < number; ++part) {
      std::copy(past.time, past.time + edges, starts + part * edges);
      if (part == number - 1) break;
      for (int row = part * segment; row < (part + 1) * segment; ++row) {
        this->row<kPlain, false>(past, row);
      }
    }
    for (int part = number - 1; part >= 0; --part) {
      first_ = part * segment;
      const int end = std::min(first_ + segment, rows);
      std::copy(starts + part * edges, starts + (part + 1) * edges, past.time);
      // Going back over a row meets its piece of time and the jump before it, so the rows stored
      // are one more.
      for (int row = first_; row < end; ++row) this->row<kStoring, false>(past, row);
      if (part == number - 1) {
        value = row<kStoring, true>(past, rows);
        error = past.error;
      } else {
        row<kStoring, false>(past, end);
      }
      for (int row = rows - end; row < rows - first_; ++row) this->row<kMeeting, false>(future, row);
    }
    row<kMeeting, true>(future, rows);
  }

 private:
  enum Mode { kPlain, kStoring, kMeeting };

  // Vectors that the gradient of one group of pairs may store before it goes by segments.
  static constexpr std::int64_t kStore = (std::int64_t(4) << 20) / kBytes;

  // The edges that the next row starts from, of time and of jumps, one for each column.
  struct State {
    Vector *time, *jump;
    Vector error;
  };

  State begin(Room& room) {
    const std::int64_t columns = pairs.jumps_y + 1;
    Vector* time = room.cleared(columns * (time_ + jump_));
    return {time, time + columns * time_, Vector{}};
  }

  Vector* stored(int row, int column) {
    return stored_ + (row - first_) * row_size_ + std::int64_t(column) * cell_;
  }

  // One row: a piece of time of `x` and, but for the last row, the jump after it. The rectangles
  // of time with jumps have inner product zero and change no edge. When meeting, rows and columns
  // count from the end. Returns the kernel at the end of the piece of time.
  template <Mode mode, bool last>
  Vector row(State& state, int i) {
    const int piece_x = mode == kMeeting ? pairs.jumps_x - i : i;
    const int jump_x = mode == kMeeting ? piece_x - 1 : i;
    const Vector gap_x = pairs.gaps_x[piece_x];
    Vector buffers[4][kLargestOrder];
    Vector *lower = buffers[0], *upper = buffers[1];
    Vector *lower_jump = buffers[2], *upper_jump = buffers[3];
    std::fill(lower, lower + time_, Vector{});
    std::fill(lower_jump, lower_jump + jump_, Vector{});
    Vector corner = Vector{} + Real(1), middle{};
    for (int j = 0; j <= pairs.jumps_y; ++j) {
      const int piece_y = mode == kMeeting ? pairs.jumps_y - j : j;
      const Vector gap_y = pairs.gaps_y[piece_y];
      Vector* left = state.time + std::int64_t(j) * time_;
      const Vector across = s_.time.increment(left);
      if constexpr (mode == kStoring) {
        Vector* there = stored(piece_x, piece_y);
        *there++ = corner;
        there = std::copy(lower, lower + time_ - 1, there);
        std::copy(left, left + time_ - 1, there);
      }
      s_.time.cross(gap_x * gap_y, corner, lower, left, upper);
      middle = corner + across + s_.time.increment(upper);
      if constexpr (mode == kMeeting) {
        // Seen from the far end, the lower edge of this sweep is the upper one.
        const Vector* past = stored(piece_x, piece_y);
        const Vector below = corner + s_.time.increment(lower);
        derivatives.gaps_x[piece_x] += gap_y * s_.time.pairing(past[0], past + time_, below, left);
        derivatives.gaps_y[piece_y] +=
            gap_x * s_.time.pairing(past[0], past + 1, corner + across, upper);
      }
      corner += across;
      std::swap(lower, upper);
      if (j == pairs.jumps_y) {
        if constexpr (mode != kMeeting && last) {
          state.error += (s_.time.tail(left) + s_.time.tail(lower)) / absolute(middle);
        }
        break;
      }
      Vector* left_jump = state.jump + std::int64_t(j) * jump_;
      const Vector across_jump = s_.jump.increment(left_jump);
      if constexpr (last) {
        if constexpr (mode != kMeeting) {
          state.error += s_.time.tail(left) / absolute(middle);
          state.error += s_.jump.tail(left_jump) / absolute(middle + across_jump);
        }
      } else {
        const int jump_y = mode == kMeeting ? piece_y - 1 : j;
        if (cross_jump<mode>(jump_x, jump_y, middle, lower_jump, left_jump, upper_jump)) {
          std::swap(lower_jump, upper_jump);
        }
      }
      corner += across_jump;
    }
    if constexpr (mode != kMeeting && !last) {
      const Vector end = middle + s_.jump.increment(lower_jump);
      state.error += s_.time.tail(lower) / absolute(middle);
      state.error += s_.jump.tail(lower_jump) / absolute(end);
    }
    return middle;
  }

  // A rectangle of two jumps; false if nothing changes.
  template <Mode mode>
  bool cross_jump(int row, int column, Vector corner, const Vector* lower, Vector* left,
                  Vector* upper) {
    if (s_.by_entry) return cross_labels<mode>(row, column, corner, lower, left, upper);
    const Mask meets = pairs.marks_x[row] == pairs.marks_y[column];
    if (!any(meets)) return false;
    const Vector z = where(meets, pairs.squares_x[row]);
    if constexpr (mode == kStoring) {
      Vector* there = stored(row, column) + 2 * time_ - 1;
      *there++ = corner;
      std::copy(left, left + jump_ - 1, there);
    }
    const Vector below = mode == kMeeting ? corner + s_.jump.increment(lower) : corner;
    s_.jump.cross(z, corner, lower, left, upper);
    if constexpr (mode == kMeeting) {
      const Vector* past = stored(row, column) + 2 * time_ - 1;
      const Vector entry = s_.jump.pairing(past[0], past + 1, below, left);
      derivatives.jumps_x[row] += where(meets, entry);
    }
    return true;
  }

  // The same where jumps have several labels or different ones share.
  template <Mode mode>
  bool cross_labels(int row, int column, Vector corner, const Vector* lower, Vector* left,
                    Vector* upper) {
    Vector z{};
    const std::int32_t* labels_x = pairs.labels_x.data() + std::int64_t(row) * s_.slots_x * kLanes;
    const std::int32_t* labels_y =
        pairs.labels_y.data() + std::int64_t(column) * s_.slots_y * kLanes;
    for (int a = 0; a < s_.slots_x; ++a) {
      for (int b = 0; b < s_.slots_y; ++b) {
        for (int lane = 0; lane < kLanes; ++lane) {
          z[lane] += s_.table[std::int64_t(labels_x[a * kLanes + lane]) * s_.num_labels +
                              labels_y[b * kLanes + lane]];
        }
      }
    }
    if constexpr (mode == kStoring) {
      Vector* there = stored(row, column) + 2 * time_ - 1;
      *there++ = corner;
      there = std::copy(left, left + jump_ - 1, there);
      std::copy(lower, lower + jump_ - 1, there);
    }
    if constexpr (mode == kMeeting) {
      const Vector* past = stored(row, column) + 2 * time_ - 1;
      derivatives.entries[std::int64_t(row) * pairs.jumps_y + column] = s_.jump.rectangle_integral(
          z, past[0], past + jump_, past + 1, corner, lower, left);
    }
    if (!any(z != Vector{})) return false;
    s_.jump.cross(z, corner, lower, left, upper);
    return true;
  }

  const Settings& s_;
  const int time_, jump_;
  // Vectors that are stored of each rectangle of time and the rectangle of jumps after it.
  const int cell_;
  int first_ = 0;
  std::int64_t row_size_ = 0;
  Vector* stored_ = nullptr;
  Room past_room_, future_room_, store_room_, starts_room_, derivatives_room_;
};

}  // namespace
}  // namespace roughsnn
