// Truncated signatures of spike trains, and their derivatives, as functions that XLA calls.
//
// `_signature_terms.py` does the same in JAX. The threads of XLA's pool take some trains after the
// other. A sum over trains is summed in parts whose number depends on its size alone, so that its
// rounding does not depend on the threads.

#include <string>

#include "signature_terms.h"
#include "threads.h"

namespace roughsnn {
namespace {

namespace ffi = xla::ffi;
constexpr ffi::DataType kReal = sizeof(Real) == 8 ? ffi::DataType::F64 : ffi::DataType::F32;
using Ints = ffi::Buffer<ffi::DataType::S32>;
using Reals = ffi::Buffer<kReal>;
using Results = ffi::Result<Reals>;

// Bytes of the rows of trains that are taken together, unless their words are more: a cache.
constexpr std::int64_t kTogether = std::int64_t(512) << 10;
// Bytes of the parts of a sum.
constexpr std::int64_t kParts = std::int64_t(64) << 20;
constexpr std::int64_t kMostParts = 32;

struct Trains {
  const Real *times, *ends, *time_scale, *scale;
  const std::int32_t* labels;
  std::int64_t number, spikes;
  int channels, depth;
  std::int64_t words = 0;

  Trains(const Reals& times, const Ints& labels, const Reals& ends, const Reals& time_scale,
         const Reals& scale, std::int64_t depth)
      : times(times.typed_data()), ends(ends.typed_data()), time_scale(time_scale.typed_data()),
        scale(scale.typed_data()), labels(labels.typed_data()), number(times.dimensions()[0]),
        spikes(times.dimensions()[1]), channels(int(scale.dimensions()[0]) + 1), depth(int(depth)) {
    std::int64_t level = 1;
    for (int i = 0; i < depth; ++i) words += level *= channels;
  }

  std::shared_ptr<Terms> no_terms() const {
    return std::make_shared<Terms>(channels, depth, *time_scale, scale);
  }

  void load(Terms& terms, std::int64_t begin, std::int64_t end) const {
    terms.clear();
    for (std::int64_t train = begin; train < end; ++train) {
      terms.add({times + train * spikes, labels + train * spikes, spikes, ends[train]});
    }
    terms.prepare();
  }

  // How many trains are taken together, with so many rows for each piece of their lifts.
  std::int64_t together(int rows) const {
    const std::int64_t one = (2 * spikes + 1) * rows * padded(channels) * sizeof(Real);
    const std::int64_t room = std::max<std::int64_t>(kTogether, words * sizeof(Real));
    return std::max<std::int64_t>(1, std::min(room, 32 * kTogether) / one);
  }
};

void one_by_one(ffi::ThreadPool& pool, const Trains& trains, Real* words) {
  share_out(pool, trains.number, [&] {
    return [&, terms = trains.no_terms()](std::int64_t train) {
      trains.load(*terms, train, train + 1);
      terms->template add_words<true>(words + train * trains.words);
    };
  });
}

void summed(ffi::ThreadPool& pool, const Trains& trains, Real* words) {
  const std::int64_t fits = kParts / std::int64_t(trains.words * sizeof(Real));
  const std::int64_t most = std::min(kMostParts, trains.number);
  const std::int64_t parts = std::max<std::int64_t>(1, std::min(fits, most));
  const std::int64_t together = trains.together(2);
  Numbers room;
  Real* more = room.of(std::max<std::int64_t>(1, (parts - 1) * trains.words));
  share_out(pool, parts, [&] {
    return [&, terms = trains.no_terms()](std::int64_t part) {
      Real* sum = part == 0 ? words : more + (part - 1) * trains.words;
      std::fill(sum, sum + trains.words, Real(0));
      const std::int64_t end = (part + 1) * trains.number / parts;
      for (std::int64_t at = part * trains.number / parts; at < end; at += together) {
        trains.load(*terms, at, std::min(end, at + together));
        terms->template add_words<false>(sum);
      }
    };
  });
  for (std::int64_t part = 1; part < parts; ++part) {
    const Real* sum = more + (part - 1) * trains.words;
    for (std::int64_t word = 0; word < trains.words; ++word) words[word] += sum[word];
  }
}

ffi::Error signature(ffi::ThreadPool pool, Reals times, Ints labels, Reals ends, Reals time_scale,
                     Reals scale, std::int64_t depth, std::int64_t total, Results words) try {
  const Trains trains(times, labels, ends, time_scale, scale, depth);
  (total != 0 ? summed : one_by_one)(pool, trains, words->typed_data());
  return ffi::Error::Success();
} catch (const std::exception& failure) {
  return ffi::Error::Internal(std::string("the event signature failed: ") + failure.what());
}

// Of all trains with the same slopes if it is of their sum.
ffi::Error gradient(ffi::ThreadPool pool, Reals times, Ints labels, Reals ends, Reals time_scale,
                    Reals scale, Reals slopes, std::int64_t depth, std::int64_t total,
                    Results by_times, Results by_ends, Results by_time_scale,
                    Results by_scale) try {
  const Trains trains(times, labels, ends, time_scale, scale, depth);
  const auto clear = [](Results& result) {
    std::fill_n(result->typed_data(), result->element_count(), Real(0));
  };
  clear(by_times), clear(by_ends), clear(by_time_scale), clear(by_scale);
  const std::int64_t together = total != 0 ? trains.together(5) : 1;
  share_out(pool, (trains.number + together - 1) / together, [&] {
    return [&, terms = trains.no_terms()](std::int64_t part) {
      const std::int64_t begin = part * together;
      trains.load(*terms, begin, std::min(trains.number, begin + together));
      const Real* slope = slopes.typed_data() + (total != 0 ? 0 : begin * trains.words);
      terms->differentiate(slope, [&](std::int64_t train) {
        train += begin;
        return Slopes{by_times->typed_data() + train * trains.spikes,
                      by_ends->typed_data() + train, by_time_scale->typed_data() + train,
                      by_scale->typed_data() + train * (trains.channels - 1)};
      });
    };
  });
  return ffi::Error::Success();
} catch (const std::exception& failure) {
  return ffi::Error::Internal(std::string("the event signature failed: ") + failure.what());
}

auto arguments() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Arg<Reals>()  // times
      .Arg<Ints>()
      .Arg<Reals>()  // ends
      .Arg<Reals>()
      .Arg<Reals>();
}

}  // namespace
}  // namespace roughsnn

XLA_FFI_DEFINE_HANDLER_SYMBOL(roughsnn_event_signature, roughsnn::signature,
                              roughsnn::arguments()
                                  .Attr<std::int64_t>("depth")
                                  .Attr<std::int64_t>("total")
                                  .Ret<roughsnn::Reals>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(roughsnn_event_signature_gradient, roughsnn::gradient,
                              roughsnn::arguments()
                                  .Arg<roughsnn::Reals>()
                                  .Attr<std::int64_t>("depth")
                                  .Attr<std::int64_t>("total")
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>()
                                  .Ret<roughsnn::Reals>());
