// The signature kernel of pairs of spike trains, and its derivatives, as functions that XLA calls.
//
// `_event_blocks.py` does the same in JAX. Here pairs of one cost share a vector, and the threads
// of XLA's pool take some vectors of pairs after the other.

#include <numeric>
#include <string>

#include "event_sweep.h"
#include "threads.h"

namespace roughsnn {
namespace {

namespace ffi = xla::ffi;
constexpr ffi::DataType kReal = sizeof(Real) == 8 ? ffi::DataType::F64 : ffi::DataType::F32;
using Ints = ffi::Buffer<ffi::DataType::S32>;
using Reals = ffi::Buffer<kReal>;
using Results = ffi::Result<Reals>;

// ---- trains and pairs of them

struct Trains {
  const Real *times, *ends;
  const std::int32_t* labels;
  std::int64_t number, jumps;
  int slots, none;
  // One bit for each label of each train: whether it fires.
  std::vector<std::uint64_t> fires;
  std::int64_t words;

  Trains(const Reals& times, const Ints& labels, const Reals& ends, int num_labels)
      : times(times.typed_data()),
        ends(ends.typed_data()),
        labels(labels.typed_data()),
        number(times.dimensions()[0]),
        jumps(times.dimensions()[1]),
        slots(int(labels.dimensions()[2])),
        none(num_labels - 1),
        words((num_labels + 63) / 64) {
    fires.assign(number * words, 0);
    for (std::int64_t train = 0; train < number; ++train) {
      for (std::int64_t i = 0; i < jumps * slots; ++i) {
        const int label = this->label(train * jumps * slots + i);
        if (label < none) fires[train * words + label / 64] |= std::uint64_t(1) << (label % 64);
      }
    }
  }

  // A label that is none of a neuron stands for no jump.
  int label(std::int64_t index) const {
    const std::int32_t label = labels[index];
    return label < 0 || label > none ? none : label;
  }
  int label(std::int64_t train, std::int64_t jump, int slot) const {
    return label((train * jumps + jump) * slots + slot);
  }
  bool has(std::int64_t train, int label) const {
    return label < none && (fires[train * words + label / 64] >> (label % 64) & 1);
  }

  // Whether a jump counts beside the other train.
  bool counts(std::int64_t train, std::int64_t jump, const Trains& other, std::int64_t with,
              bool diagonal) const {
    if (!diagonal) return label(train, jump, 0) < none;
    for (int slot = 0; slot < slots; ++slot) {
      if (other.has(with, label(train, jump, slot))) return true;
    }
    return false;
  }
};

// The jumps of one train that count beside another one.
std::int32_t select(const Trains& trains, std::int64_t train, const Trains& other,
                    std::int64_t with, bool diagonal, std::int32_t* kept) {
  std::int32_t size = 0;
  for (std::int32_t jump = 0; jump < trains.jumps; ++jump) {
    kept[size] = jump;
    size += trains.counts(train, jump, other, with, diagonal);
  }
  return size;
}

struct Outputs {
  Real *value, *error;
  // Of each pair: derivatives in the times of `x`, in its end, and in the entry of the table of
  // each jump; in the times of `y` and in its end; in all entries.
  Real *by_x = nullptr, *by_y = nullptr, *entries = nullptr;
};

// One thread: vectors of pairs, one after the other.
class Worker {
 public:
  Worker(const Settings& settings, const Trains& x, const Trains& y, const std::int32_t* rows,
         const std::int32_t* columns, const Outputs& outputs)
      : s_(settings), x_(x), y_(y), rows_(rows), columns_(columns), out_(outputs),
        sweeper_(settings) {
    for (int lane = 0; lane < kLanes; ++lane) {
      kept_x_[lane].resize(x.jumps + 1);
      kept_y_[lane].resize(y.jumps + 1);
    }
  }

  void run(const std::int32_t* pairs, int size) {
    load(pairs, size);
    if (out_.by_x == nullptr) {
      sweeper_.forwards();
    } else {
      sweeper_.with_derivatives();
    }
    for (int lane = 0; lane < size; ++lane) {
      const std::int64_t pair = pairs[lane];
      out_.value[pair] = sweeper_.value[lane];
      out_.error[pair] = sweeper_.error[lane];
      if (out_.by_x != nullptr) write(pair, lane);
    }
  }

 private:
  void load(const std::int32_t* pairs, int size) {
    Pairs& p = sweeper_.pairs;
    p.jumps_x = p.jumps_y = 0;
    for (int lane = 0; lane < kLanes; ++lane) {
      // Lanes that are left over repeat a pair.
      const std::int64_t pair = pairs[std::min(lane, size - 1)];
      const std::int64_t i = rows_[pair], j = columns_[pair];
      size_x_[lane] = select(x_, i, y_, j, s_.diagonal, kept_x_[lane].data());
      size_y_[lane] = select(y_, j, x_, i, s_.diagonal, kept_y_[lane].data());
      p.jumps_x = std::max(p.jumps_x, size_x_[lane]);
      p.jumps_y = std::max(p.jumps_y, size_y_[lane]);
    }
    const int m = p.jumps_x, n = p.jumps_y;
    p.gaps_x = room_.of(3 * m + 2 * n + 2);
    p.gaps_y = p.gaps_x + m + 1;
    p.marks_x = p.gaps_y + n + 1;
    p.marks_y = p.marks_x + m;
    p.squares_x = p.marks_y + n;
    if (s_.by_entry) {
      p.labels_x.assign(std::int64_t(m) * s_.slots_x * kLanes, s_.num_labels - 1);
      p.labels_y.assign(std::int64_t(n) * s_.slots_y * kLanes, s_.num_labels - 1);
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      const std::int64_t pair = pairs[std::min(lane, size - 1)];
      load_train(x_, rows_[pair], lane, kept_x_[lane].data(), size_x_[lane], m, p.gaps_x,
                 p.marks_x, Real(-1), p.squares_x, p.labels_x);
      load_train(y_, columns_[pair], lane, kept_y_[lane].data(), size_y_[lane], n, p.gaps_y,
                 p.marks_y, Real(-2), nullptr, p.labels_y);
    }
  }

  void load_train(const Trains& trains, std::int64_t train, int lane, const std::int32_t* kept,
                  int size, int most, Vector* gaps, Vector* marks, Real nothing, Vector* squares,
                  std::vector<std::int32_t>& labels) const {
    const Real end = trains.ends[train];
    Real before = 0;
    for (int k = 0; k <= most; ++k) {
      const Real time = k < size ? trains.times[train * trains.jumps + kept[k]] : end;
      gaps[k][lane] = time - before;
      before = time;
    }
    if (s_.by_entry) {
      for (int k = 0; k < size; ++k) {
        for (int slot = 0; slot < trains.slots; ++slot) {
          labels[(std::int64_t(k) * trains.slots + slot) * kLanes + lane] =
              trains.label(train, kept[k], slot);
        }
      }
      return;
    }
    for (int k = 0; k < most; ++k) {
      const int label = k < size ? trains.label(train, kept[k], 0) : trains.none;
      marks[k][lane] = k < size ? Real(label) : nothing;
      if (squares != nullptr) {
        squares[k][lane] = s_.table[std::int64_t(label) * (s_.num_labels + 1)];
      }
    }
  }

  void write(std::int64_t pair, int lane) {
    const Derivatives& d = sweeper_.derivatives;
    const bool by_jump = !s_.by_entry;
    Real* by_x = out_.by_x + pair * (x_.jumps + 1 + (by_jump ? x_.jumps : 0));
    write_times(by_x, x_, kept_x_[lane].data(), size_x_[lane], d.gaps_x, lane);
    write_times(out_.by_y + pair * (y_.jumps + 1), y_, kept_y_[lane].data(), size_y_[lane],
                d.gaps_y, lane);
    if (by_jump) {
      Real* by_table = by_x + x_.jumps + 1;
      std::fill(by_table, by_table + x_.jumps, Real(0));
      for (int k = 0; k < size_x_[lane]; ++k) by_table[kept_x_[lane][k]] = d.jumps_x[k][lane];
      return;
    }
    Real* entries = out_.entries + pair * x_.jumps * y_.jumps;
    std::fill(entries, entries + x_.jumps * y_.jumps, Real(0));
    for (int k = 0; k < size_x_[lane]; ++k) {
      for (int l = 0; l < size_y_[lane]; ++l) {
        entries[kept_x_[lane][k] * y_.jumps + kept_y_[lane][l]] =
            d.entries[std::int64_t(k) * sweeper_.pairs.jumps_y + l][lane];
      }
    }
  }

  // A spike ends one piece of time and begins the next.
  static void write_times(Real* by, const Trains& trains, const std::int32_t* kept, int size,
                          const Vector* gaps, int lane) {
    std::fill(by, by + trains.jumps, Real(0));
    for (int k = 0; k < size; ++k) by[kept[k]] = gaps[k][lane] - gaps[k + 1][lane];
    by[trains.jumps] = gaps[size][lane];
  }

  const Settings& s_;
  const Trains &x_, &y_;
  const std::int32_t *rows_, *columns_;
  const Outputs& out_;
  Sweeper sweeper_;
  Room room_;
  std::vector<std::int32_t> kept_x_[kLanes], kept_y_[kLanes];
  int size_x_[kLanes], size_y_[kLanes];
};

// Puts the numbers of `order` in the order of their keys, below `most`; equal ones stay in theirs.
void sort_by(const std::vector<std::int32_t>& keys, std::int64_t most,
             std::vector<std::int32_t>& order) {
  std::vector<std::int64_t> place(most + 1, 0);
  for (const std::int32_t key : keys) ++place[key + 1];
  std::partial_sum(place.begin(), place.end(), place.begin());
  std::vector<std::int32_t> sorted(order.size());
  for (const std::int32_t pair : order) sorted[place[keys[pair]]++] = pair;
  order.swap(sorted);
}

ffi::Error compute(ffi::ThreadPool& pool, const Reals& times_x, const Ints& labels_x,
                   const Reals& ends_x, const Reals& times_y, const Ints& labels_y,
                   const Reals& ends_y, const Reals& table, const Ints& rows, const Ints& columns,
                   std::int64_t order_time, std::int64_t order_jump, std::int64_t diagonal,
                   std::int64_t by_entry, const Outputs& outputs) try {
  const int num_labels = int(table.dimensions()[0]);
  const Trains x(times_x, labels_x, ends_x, num_labels), y(times_y, labels_y, ends_y, num_labels);
  const Settings settings{Series(int(order_time)), Series(int(order_jump)), diagonal != 0,
                          by_entry != 0, x.slots, y.slots, table.typed_data(), num_labels};
  const std::int64_t number = rows.dimensions()[0];
  const std::int32_t *row = rows.typed_data(), *column = columns.typed_data();
  for (std::int64_t p = 0; p < number; ++p) {
    if (row[p] < 0 || row[p] >= x.number || column[p] < 0 || column[p] >= y.number) {
      return ffi::Error::InvalidArgument("a pair names a train that is not there");
    }
  }

  // Pairs with alike numbers of jumps beside one another, those that cost most first.
  std::vector<std::int32_t> size_x(number), size_y(number), order(number);
  std::iota(order.begin(), order.end(), 0);
  constexpr std::int64_t kPart = 2048;
  share_out(pool, (number + kPart - 1) / kPart, [&] {
    std::vector<std::int32_t> kept(std::max(x.jumps, y.jumps) + 1);
    return [&, kept](std::int64_t part) mutable {
      for (std::int64_t p = part * kPart; p < std::min(number, (part + 1) * kPart); ++p) {
        const std::int64_t i = row[p], j = column[p];
        size_x[p] = int(x.jumps) - select(x, i, y, j, settings.diagonal, kept.data());
        size_y[p] = int(y.jumps) - select(y, j, x, i, settings.diagonal, kept.data());
      }
    };
  });
  sort_by(size_y, y.jumps + 1, order);
  sort_by(size_x, x.jumps + 1, order);

  const std::int64_t vectors = (number + kLanes - 1) / kLanes;
  const std::int64_t threads = std::max<std::int64_t>(pool.num_threads(), 1);
  const std::int64_t at_once = std::max<std::int64_t>(1, vectors / (64 * threads));
  share_out(pool, (vectors + at_once - 1) / at_once, [&] {
    const auto worker = std::make_shared<Worker>(settings, x, y, row, column, outputs);
    return [&, worker](std::int64_t part) {
      for (std::int64_t v = part * at_once; v < std::min(vectors, (part + 1) * at_once); ++v) {
        const std::int64_t first = v * kLanes;
        worker->run(order.data() + first, int(std::min<std::int64_t>(kLanes, number - first)));
      }
    };
  });
  return ffi::Error::Success();
} catch (const std::exception& failure) {
  return ffi::Error::Internal(std::string("the event kernel failed: ") + failure.what());
}

ffi::Error kernel(ffi::ThreadPool pool, Reals times_x, Ints labels_x, Reals ends_x, Reals times_y,
                  Ints labels_y, Reals ends_y, Reals table, Ints rows, Ints columns,
                  std::int64_t order_time, std::int64_t order_jump, std::int64_t diagonal,
                  std::int64_t by_entry, Results value, Results error) {
  return compute(pool, times_x, labels_x, ends_x, times_y, labels_y, ends_y, table, rows, columns,
                 order_time, order_jump, diagonal, by_entry,
                 {value->typed_data(), error->typed_data()});
}

ffi::Error kernel_and_gradient(ffi::ThreadPool pool, Reals times_x, Ints labels_x, Reals ends_x,
                               Reals times_y, Ints labels_y, Reals ends_y, Reals table, Ints rows,
                               Ints columns, std::int64_t order_time, std::int64_t order_jump,
                               std::int64_t diagonal, std::int64_t by_entry, Results value,
                               Results error, Results by_x, Results by_y, Results entries) {
  return compute(pool, times_x, labels_x, ends_x, times_y, labels_y, ends_y, table, rows, columns,
                 order_time, order_jump, diagonal, by_entry,
                 {value->typed_data(), error->typed_data(), by_x->typed_data(),
                  by_y->typed_data(), entries->typed_data()});
}

auto arguments() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Arg<Reals>()  // times of x
      .Arg<Ints>()
      .Arg<Reals>()
      .Arg<Reals>()  // times of y
      .Arg<Ints>()
      .Arg<Reals>()
      .Arg<Reals>()  // table
      .Arg<Ints>()
      .Arg<Ints>()
      .Attr<std::int64_t>("order_time")
      .Attr<std::int64_t>("order_jump")
      .Attr<std::int64_t>("diagonal")
      .Attr<std::int64_t>("by_entry")
      .Ret<Reals>()
      .Ret<Reals>();
}

}  // namespace
}  // namespace roughsnn

XLA_FFI_DEFINE_HANDLER_SYMBOL(roughsnn_event_kernel, roughsnn::kernel, roughsnn::arguments());

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    roughsnn_event_kernel_gradient, roughsnn::kernel_and_gradient,
    roughsnn::arguments()
        .Ret<roughsnn::Reals>()
        .Ret<roughsnn::Reals>()
        .Ret<roughsnn::Reals>());
