// The signature of spike trains to depth 3, as a sum over the pieces of their Marcus lifts.
//
// A piece of the lift runs along time, by the gap between spikes, or jumps along the neurons that
// spike together. A *term* is one letter of a piece: time with the gap as its weight, or a neuron
// with the size of its jump. With $v$ the increment of a piece, half of it counts as past and half
// as future: `left` is the level 1 of what comes before plus $v / 2$, `right` that of what comes
// after plus $v / 2$. Then, with $e_m$ the letter of a term and $w$ its weight,
//
//   S_1 = sum w e_m,   S_2 = sum w e_m (x) right,
//   S_3 = sum w (left (x) e_m (x) right - v (x) e_m (x) v / 12),
//
// where the integral of (left + (u - 1/2) v) (x) (right + (1/2 - u) v) over u in [0, 1] has been
// taken. So one word of level 3 costs the spikes of the neuron in its middle, and the derivative
// needs nothing but lefts and rights.

#pragma once

#include <cstring>
#include <vector>

#include "rows.h"

namespace roughsnn {
namespace {

struct Train {
  const Real* times;
  const std::int32_t* labels;
  std::int64_t spikes;
  Real end;
};

// What the derivative of a train goes to.
struct Slopes {
  Real *times, *end, *time_scale, *scale;
};

class Terms {
 public:
  // Sizes of the jumps by neuron, of which there is one less than channels.
  Terms(int channels, int depth, Real time_scale, const Real* scale)
      : channels_(channels), depth_(depth), width_(padded(channels)), time_scale_(time_scale),
        scale_(scale) {}

  void clear() {
    terms_.clear();
    pieces_.clear();
    trains_.assign(1, 0);
  }

  void add(const Train& train) {
    Real before = 0;
    for (std::int64_t k = 0; k < train.spikes;) {
      if (!fires(train, k)) {
        ++k;
        continue;
      }
      const Real time = train.times[k];
      add_gap(time - before);
      before = time;
      const std::int32_t first = size();
      // Spikes at one time jump together.
      for (; k < train.spikes && (!fires(train, k) || train.times[k] == time); ++k) {
        if (!fires(train, k)) continue;
        const std::int32_t label = train.labels[k];
        terms_.push_back({label + 1, std::int32_t(pieces_.size()), scale_[label], Real(0), k});
      }
      pieces_.push_back({first, size()});
    }
    add_gap(train.end - before);
    trains_.push_back(std::int32_t(pieces_.size()));
  }

  // To be called when all trains are there.
  void prepare() {
    sort();
    if (depth_ < 2) return;
    lefts_ = left_room_.of(pieces_.size() * width_);
    rights_ = right_room_.of(pieces_.size() * width_);
    Real* sum = sum_room_.of(width_);
    for (std::size_t train = 0; train + 1 < trains_.size(); ++train) {
      std::fill(sum, sum + width_, Real(0));
      for (int p = trains_[train]; p < trains_[train + 1]; ++p) pass(p, sum, lefts_);
      std::fill(sum, sum + width_, Real(0));
      for (int p = trains_[train + 1] - 1; p >= trains_[train]; --p) pass(p, sum, rights_);
    }
  }

  // Adds the words of all trains, or writes them.
  template <bool fresh>
  void add_words(Real* words) {
    if (fresh) std::fill(words, words + channels_ + (depth_ > 1 ? square() : 0), Real(0));
    for (const Term& term : terms_) words[term.letter] += term.weight;
    if (depth_ > 1) add_pairs(words + channels_);
    if (depth_ > 2) {
      Real* third = words + channels_ + square();
      by_columns(width_, [&](int column, auto across) {
        for (int row = 0; row < channels_; row += kTile) {
          add_block<fresh>(third, row, column, across);
        }
      });
      for (const Piece& piece : pieces_) correct(piece, third);
    }
  }

  // Derivatives of the inner product of the words with `slopes`, a train after the other.
  template <class Of>
  void differentiate(const Real* slopes, Of of) {
    by_weight_ = weight_room_.of(size());
    for (int e = 0; e < size(); ++e) by_weight_[e] = slopes[terms_[e].letter];
    if (depth_ > 1) {
      differentiate_pairs(slopes + channels_);
      if (depth_ > 2) {
        by_lefts_ = by_left_room_.of(std::int64_t(size()) * width_);
        const Real* third = slopes + channels_ + square();
        for (int letter = 0; letter < channels_; ++letter) differentiate_middle(third, letter);
        for (const Piece& piece : pieces_) differentiate_correction(piece, third);
      }
    }
    for (std::size_t train = 0; train + 1 < trains_.size(); ++train) {
      if (depth_ > 1) differentiate_increments(trains_[train], trains_[train + 1]);
      collect(trains_[train], trains_[train + 1], of(train));
    }
  }

 private:
  struct Term {
    std::int32_t letter, piece;
    Real weight;
    // Of a piece of time, in the unit of the spikes.
    Real length;
    std::int64_t spike;
  };
  struct Piece {
    std::int32_t first, last;
  };

  std::int32_t size() const { return std::int32_t(terms_.size()); }
  std::int64_t square() const { return std::int64_t(channels_) * channels_; }

  // A label that is none of a neuron stands for no spike.
  bool fires(const Train& train, std::int64_t k) const {
    return train.labels[k] >= 0 && train.labels[k] < channels_ - 1;
  }

  void add_gap(Real length) {
    terms_.push_back({0, std::int32_t(pieces_.size()), time_scale_ * length, length, -1});
    pieces_.push_back({size() - 1, size()});
  }

  // Terms with one letter side by side.
  void sort() {
    starts_.assign(channels_ + 1, 0);
    for (const Term& term : terms_) ++starts_[term.letter + 1];
    for (int letter = 0; letter < channels_; ++letter) starts_[letter + 1] += starts_[letter];
    next_.assign(starts_.begin(), starts_.end() - 1);
    order_.resize(terms_.size());
    weighted_.resize(terms_.size());
    for (int e = 0; e < size(); ++e) {
      const std::int32_t place = next_[terms_[e].letter]++;
      order_[place] = e;
      weighted_[place] = {std::int64_t(terms_[e].piece) * width_, terms_[e].weight};
    }
  }

  // One more piece: its row, from the sum of those before.
  void pass(int p, Real* sum, Real* rows) const {
    Real* row = rows + std::int64_t(p) * width_;
    std::memcpy(row, sum, width_ * sizeof(Real));
    for (int e = pieces_[p].first; e < pieces_[p].last; ++e) {
      row[terms_[e].letter] += terms_[e].weight / 2;
      sum[terms_[e].letter] += terms_[e].weight;
    }
  }

  const Real* left(const Term& term) const { return lefts_ + std::int64_t(term.piece) * width_; }
  const Real* right(const Term& term) const { return rights_ + std::int64_t(term.piece) * width_; }

  void add_pairs(Real* second) {
    Real* sum = sum_room_.of(width_);
    for (int letter = 0; letter < channels_; ++letter) {
      std::fill(sum, sum + width_, Real(0));
      for (int o = starts_[letter]; o < starts_[letter + 1]; ++o) {
        add_row(sum, rights_ + weighted_[o].row, weighted_[o].weight, width_);
      }
      Real* to = second + std::int64_t(letter) * channels_;
      for (int c = 0; c < channels_; ++c) to[c] += sum[c];
    }
  }

  // Words with their first letter in some rows and their last in some columns.
  template <bool fresh, int across>
  void add_block(Real* third, int row, int column, std::integral_constant<int, across>) const {
    const int rows = std::min(kTile, channels_ - row);
    const int columns = std::min(across * kWide, channels_ - column);
    const int whole = columns / kWide * kWide;
    for (int letter = 0; letter < channels_; ++letter) {
      if (!fresh && starts_[letter] == starts_[letter + 1]) continue;
      Wide sums[kTile][across];
      outer_products(weighted_.data() + starts_[letter], weighted_.data() + starts_[letter + 1],
                     lefts_ + row, rights_ + column, sums);
      for (int r = 0; r < rows; ++r) {
        const std::int64_t word = std::int64_t(row + r) * channels_ + letter;
        Real* to = third + word * channels_ + column;
        const Real* from = reinterpret_cast<const Real*>(sums[r]);
        for (int c = 0; c < whole; c += kWide) {
          WideAnywhere& there = *reinterpret_cast<WideAnywhere*>(to + c);
          there = fresh ? wide(from + c) : there + wide(from + c);
        }
        for (int c = whole; c < columns; ++c) to[c] = fresh ? from[c] : to[c] + from[c];
      }
    }
  }

  // Calls `f` with the place of each word of letters of a piece, and its terms.
  template <class F>
  void words_of(const Piece& piece, F f) const {
    for (int a = piece.first; a < piece.last; ++a) {
      for (int e = piece.first; e < piece.last; ++e) {
        for (int b = piece.first; b < piece.last; ++b) {
          const std::int64_t start = std::int64_t(terms_[a].letter) * channels_ + terms_[e].letter;
          f(start * channels_ + terms_[b].letter, a, e, b);
        }
      }
    }
  }

  void correct(const Piece& piece, Real* third) const {
    words_of(piece, [&](std::int64_t word, int a, int e, int b) {
      third[word] -= terms_[a].weight * terms_[e].weight * terms_[b].weight / 12;
    });
  }

  void differentiate_correction(const Piece& piece, const Real* third) {
    words_of(piece, [&](std::int64_t word, int a, int e, int b) {
      const Real slope = third[word] / 12;
      by_weight_[a] -= slope * terms_[e].weight * terms_[b].weight;
      by_weight_[e] -= slope * terms_[a].weight * terms_[b].weight;
      by_weight_[b] -= slope * terms_[a].weight * terms_[e].weight;
    });
  }

  // Rows of derivatives by rights, still without the weight of their term.
  void differentiate_pairs(const Real* second) {
    by_rights_ = by_right_room_.of(std::int64_t(size()) * width_);
    Real* row = row_room_.cleared(width_);
    for (int letter = 0; letter < channels_; ++letter) {
      std::copy_n(second + std::int64_t(letter) * channels_, channels_, row);
      for (int o = starts_[letter]; o < starts_[letter + 1]; ++o) {
        const int e = order_[o];
        by_weight_[e] += inner_product(row, right(terms_[e]), width_);
        std::memcpy(by_rights_ + std::int64_t(e) * width_, row, width_ * sizeof(Real));
      }
    }
  }

  // The words with a letter in the middle.
  void differentiate_middle(const Real* third, int letter) {
    const int first = starts_[letter], number = starts_[letter + 1] - first;
    if (number == 0) return;
    Real* matrix = matrix_room_.cleared(2 * std::int64_t(channels_) * width_);
    Real* transposed = matrix + std::int64_t(channels_) * width_;
    for (int i = 0; i < channels_; ++i) {
      const Real* from = third + (std::int64_t(i) * channels_ + letter) * channels_;
      std::copy_n(from, channels_, matrix + std::int64_t(i) * width_);
      for (int k = 0; k < channels_; ++k) transposed[std::int64_t(k) * width_ + i] = from[k];
    }
    Real* products = product_room_.of(std::int64_t(number) * width_);
    rows_.resize(2 * number);
    products_.resize(2 * number);
    const Real **lefts = rows_.data(), **rights = lefts + number;
    Real **by_lefts = products_.data(), **by_rights = by_lefts + number;
    for (int o = 0; o < number; ++o) {
      const std::int64_t e = order_[first + o];
      lefts[o] = left(terms_[e]);
      rights[o] = right(terms_[e]);
      by_lefts[o] = by_lefts_ + e * width_;
      by_rights[o] = products + std::int64_t(o) * width_;
    }
    multiply(rights, number, transposed, channels_, width_, by_lefts);
    multiply(lefts, number, matrix, channels_, width_, by_rights);
    for (int o = 0; o < number; ++o) {
      const std::int64_t e = order_[first + o];
      by_weight_[e] += inner_product(lefts[o], by_lefts[o], width_);
      add_row(by_rights_ + e * width_, by_rights[o], Real(1), width_);
    }
  }

  // A weight is also part of the lefts after it and the rights before it, and of half its own.
  void differentiate_increments(int begin, int end) {
    Real* past = past_room_.cleared(2 * width_);
    Real* own = past + width_;
    const auto pass = [&](int p, const Real* rows) {
      std::fill(own, own + width_, Real(0));
      for (int e = pieces_[p].first; e < pieces_[p].last; ++e) {
        add_row(own, rows + std::int64_t(e) * width_, terms_[e].weight, width_);
      }
      for (int e = pieces_[p].first; e < pieces_[p].last; ++e) {
        by_weight_[e] += past[terms_[e].letter] + own[terms_[e].letter] / 2;
      }
      add_row(past, own, Real(1), width_);
    };
    for (int p = begin; p < end; ++p) pass(p, by_rights_);
    if (depth_ < 3) return;
    std::fill(past, past + width_, Real(0));
    for (int p = end - 1; p >= begin; --p) pass(p, by_lefts_);
  }

  // From weights to spikes and scales. Pieces of time and jumps alternate; spikes at one time move
  // together and share the derivative.
  void collect(int begin, int end, Slopes to) const {
    Real by_gap = 0;
    for (int p = begin; p < end; ++p) {
      const Piece &piece = pieces_[p];
      if ((p - begin) % 2 == 0) {
        const Real slope = by_weight_[piece.first];
        *to.time_scale += slope * terms_[piece.first].length;
        by_gap = slope * time_scale_;
        continue;
      }
      const Real after = by_weight_[pieces_[p + 1].first] * time_scale_;
      for (int e = piece.first; e < piece.last; ++e) {
        to.times[terms_[e].spike] += (by_gap - after) / Real(piece.last - piece.first);
        to.scale[terms_[e].letter - 1] += by_weight_[e];
      }
    }
    *to.end += by_gap;
  }

  const int channels_, depth_, width_;
  const Real time_scale_;
  const Real* scale_;
  std::vector<Term> terms_;
  std::vector<Piece> pieces_;
  // Where the pieces of each train begin, and the last ones end.
  std::vector<std::int32_t> trains_;
  // By letter: where its terms begin, which they are, and their rows and weights.
  std::vector<std::int32_t> starts_, next_, order_;
  std::vector<Weighted> weighted_;
  std::vector<const Real*> rows_;
  std::vector<Real*> products_;
  // Of each piece.
  Real *lefts_ = nullptr, *rights_ = nullptr;
  // Of each term.
  Real *by_weight_ = nullptr, *by_lefts_ = nullptr, *by_rights_ = nullptr;
  Numbers left_room_, right_room_, by_left_room_, by_right_room_, weight_room_, matrix_room_;
  Numbers product_room_, sum_room_, row_room_, past_room_;
};

}  // namespace
}  // namespace roughsnn
