// From the product of the three projections to what the output projection takes, over keys and values in pages.
#pragma once
#include <cmath>

#include "products.h"
#include "rows.h"

// How the heads of a layer lie in a row [query heads, KV heads of keys, KV heads of values], and how they attend.
template <class T>
struct Heads {
    int64_t num_heads, num_kv_heads, head_size;
    const T *query_norm, *key_norm;  // [head size], or null
    float epsilon;
    float scaling;
    int64_t window;  // positions that a row sees up to its own; 0: all
    float softcap;   // 0: none

    int64_t row_size() const { return (num_heads + 2 * num_kv_heads) * head_size; }
};

// The pages of a layer: [blocks, block size, KV heads, head size], a block `block_stride` numbers behind the one before.
template <class T>
struct Pages {
    T *keys, *values;
    int64_t block_stride, block_size;
};

// What all layers of a step share. A tile is some consecutive rows of one sequence.
template <class T>
struct Step {
    int64_t num_rows, num_tiles;
    const T *cos, *sin;  // [rows, rotated]
    int64_t rotated;
    const int64_t* places;  // [rows]: block * block size + offset in it
    const int32_t *tile_rows, *tile_positions, *tile_counts, *tile_slots;  // [tiles]: of its first row
    const int32_t* page_table;  // [slots, table width]
    int64_t table_width;
};

// The first `rotated` numbers of a head, turned in pairs (i, i + rotated / 2).
template <class T>
inline void rotate(T* head, const T* cos, const T* sin, int64_t rotated) {
    const int64_t half = rotated / 2;
    int64_t i = 0;
    for (; i + LANES <= half; i += LANES) {
        Vector first = load(head + i), second = load(head + half + i);
        store(head + i, first * load(cos + i) - second * load(sin + i));
        store(head + half + i, second * load(cos + half + i) + first * load(sin + half + i));
    }
    for (; i < half; i++) {
        float first = widen(head[i]), second = widen(head[half + i]);
        narrow(first * widen(cos[i]) - second * widen(sin[i]), head + i);
        narrow(second * widen(cos[half + i]) + first * widen(sin[half + i]), head + half + i);
    }
}

// Norms and rotates queries and keys in place, and copies keys and values to their pages.
template <class T>
void rotate_and_store(T* packed, const Heads<T>& heads, const Pages<T>& pages, const Step<T>& step) {
    const int64_t size = heads.head_size, kv_size = heads.num_kv_heads * size;
#pragma omp for
    for (int64_t row = 0; row < step.num_rows; row++) {
        T* queries = packed + row * heads.row_size();
        T* keys = queries + heads.num_heads * size;
        for (int64_t head = 0; head < heads.num_heads + heads.num_kv_heads; head++) {
            T* place = queries + head * size;
            const T* norm = place < keys ? heads.query_norm : heads.key_norm;
            if (norm) rms_norm(place, place, norm, size, heads.epsilon);
            rotate(place, step.cos + row * step.rotated, step.sin + row * step.rotated, step.rotated);
        }
        const int64_t block = step.places[row] / pages.block_size, offset = step.places[row] % pages.block_size;
        const int64_t to = block * pages.block_stride + offset * kv_size;
        std::copy(keys, keys + kv_size, pages.keys + to);
        std::copy(keys + kv_size, keys + 2 * kv_size, pages.values + to);
    }
}

constexpr int64_t KEY_BLOCK = 64;  // keys whose scores are computed before they are weighted

// Some keys or values of one head as floats, filled up with zeros to whole vectors: where they are if they already are
// such, else in `copies`.
inline bool is_usable(const float*, int64_t size) { return size % LANES == 0; }
inline bool is_usable(const bfloat16*, int64_t) { return false; }

inline const float* as_floats(const float* from, int64_t, float*) { return from; }
inline const float* as_floats(const bfloat16*, int64_t, float*) { return nullptr; }

template <class T>
inline const float* widened(const T* from, int64_t size, float* copy) {
    if (is_usable(from, size)) return as_floats(from, size, copy);
    int64_t i = 0;
    for (; i + LANES <= size; i += LANES) store(copy + i, load(from + i));
    if (i < size) {
        store(copy + i, Vector{});
        for (; i < size; i++) copy[i] = widen(from[i]);
    }
    return copy;
}

// A query over at most `KEY_BLOCK` keys: scores, and the running softmax over all blocks (Milakov and Gimelshein, 2018).
// VECTORS: of a head; 0 if known only now.
template <int VECTORS>
struct Query {
    const float* query;
    float* weighted;  // sum of weight times value
    float highest, total;

    void look(const float* const* keys, const float* const* values, int64_t count, int64_t first, int64_t last,
              int64_t num_vectors, float softcap) {
        const int64_t vectors = VECTORS ? VECTORS : num_vectors;
        Vector scores[KEY_BLOCK / LANES];
        Vector most = all(-INFINITY);
        Integers lanes;
        for (int lane = 0; lane < LANES; lane++) lanes[lane] = lane;
        for (int64_t j = 0; j < count; j += LANES) {
            Vector partial[LANES];
            for (int64_t lane = 0; lane < LANES; lane++) {
                // Lanes behind the last key look at it again, and are hidden below.
                const float* key = keys[std::min(j + lane, count - 1)];
                Vector total = load(query) * load(key);
                for (int64_t i = 1; i < vectors; i++) total += load(query + i * LANES) * load(key + i * LANES);
                partial[lane] = total;
            }
            Vector score = sums(partial);
            if (softcap != 0)
                score = softcap * (1 - 2 / (exponential(score * (2 / softcap)) + 1));
            Integers index = lanes + int32_t(j);
            score = choose((index >= int32_t(first)) & (index < int32_t(last)), score, all(-INFINITY));
            scores[j / LANES] = score;
            most = larger(score, most);
        }
        const float now_highest = std::max(highest, largest(most));
        if (now_highest == -INFINITY) return;
        const float factor = std::exp(highest - now_highest);
        highest = now_highest;
        Vector block_total{};
        float weights[KEY_BLOCK];
        for (int64_t j = 0; j < count; j += LANES) {
            Vector weight = exponential(scores[j / LANES] - highest);
            block_total += weight;
            store(weights + j, weight);
        }
        total = total * factor + sum(block_total);
        constexpr int AT_ONCE = 4;
        int64_t i = 0;
        for (; i + AT_ONCE <= vectors; i += AT_ONCE) add<AT_ONCE>(weights, values, count, i, factor);
        for (; i < vectors; i++) add<1>(weights, values, count, i, factor);
    }

    template <int COUNT>
    void add(const float* weights, const float* const* values, int64_t count, int64_t first, float factor) {
        Vector totals[COUNT];
        for (int i = 0; i < COUNT; i++) totals[i] = load(weighted + (first + i) * LANES) * factor;
        for (int64_t j = 0; j < count; j++)
            for (int i = 0; i < COUNT; i++) totals[i] += weights[j] * load(values[j] + (first + i) * LANES);
        for (int i = 0; i < COUNT; i++) store(weighted + (first + i) * LANES, totals[i]);
    }
};

// One KV head of one tile: all query heads that share it.
template <class T, int VECTORS>
void attend_tile(T* out, const T* packed, const Heads<T>& heads, const Pages<T>& pages, const Step<T>& step, int64_t tile,
                 int64_t kv_head) {
    const int64_t size = heads.head_size, kv_size = heads.num_kv_heads * size;
    const int64_t vectors = (size + LANES - 1) / LANES, padded = vectors * LANES;
    const int64_t group = heads.num_heads / heads.num_kv_heads;
    const int64_t row = step.tile_rows[tile], position = step.tile_positions[tile], rows = step.tile_counts[tile];
    const int32_t* table = step.page_table + step.tile_slots[tile] * step.table_width;
    float* memory = scratch((2 * rows * group + 2 * KEY_BLOCK) * padded);
    float *queries = memory, *weighted = queries + rows * group * padded, *copies = weighted + rows * group * padded;
    std::unique_ptr<Query<VECTORS>[]> states(new Query<VECTORS>[rows * group]);
    for (int64_t i = 0; i < rows * group; i++) {
        float* query = queries + i * padded;
        const T* from = packed + (row + i / group) * heads.row_size() + (kv_head * group + i % group) * size;
        std::fill(query, query + padded, 0.0f);
        for (int64_t j = 0; j < size; j++) query[j] = widen(from[j]) * heads.scaling;
        std::fill(weighted + i * padded, weighted + (i + 1) * padded, 0.0f);
        states[i] = {query, weighted + i * padded, -INFINITY, 0};
    }
    const int64_t end = position + rows;
    const int64_t begin = heads.window ? std::max<int64_t>(0, position - heads.window + 1) : 0;
    const float *keys[KEY_BLOCK], *values[KEY_BLOCK];
    for (int64_t first = begin; first < end; first += KEY_BLOCK) {
        const int64_t count = std::min(KEY_BLOCK, end - first);
        for (int64_t j = 0; j < count; j++) {
            const int64_t block = table[(first + j) / pages.block_size], offset = (first + j) % pages.block_size;
            const int64_t place = block * pages.block_stride + offset * kv_size + kv_head * size;
            keys[j] = widened(pages.keys + place, size, copies + j * padded);
            values[j] = widened(pages.values + place, size, copies + (KEY_BLOCK + j) * padded);
        }
        for (int64_t i = 0; i < rows * group; i++) {
            const int64_t own = position + i / group;
            const int64_t oldest = heads.window ? own - heads.window + 1 : 0;
            if (own >= first && oldest < first + count)
                states[i].look(keys, values, count, oldest - first, own + 1 - first, vectors, heads.softcap);
        }
    }
    for (int64_t i = 0; i < rows * group; i++) {
        T* to = out + ((row + i / group) * heads.num_heads + kv_head * group + i % group) * size;
        for (int64_t j = 0; j < size; j++) narrow(states[i].weighted[j] / states[i].total, to + j);
    }
}

// out [rows, query heads * head size]. Called by all threads of a team, when all keys and values are stored.
template <class T>
void attend(T* out, const T* packed, const Heads<T>& heads, const Pages<T>& pages, const Step<T>& step) {
    const int64_t vectors = (heads.head_size + LANES - 1) / LANES;
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < step.num_tiles * heads.num_kv_heads; task++) {
        const int64_t tile = task / heads.num_kv_heads, kv_head = task % heads.num_kv_heads;
        if (vectors == 4)
            attend_tile<T, 4>(out, packed, heads, pages, step, tile, kv_head);
        else if (vectors == 8)
            attend_tile<T, 8>(out, packed, heads, pages, step, tile, kv_head);
        else
            attend_tile<T, 0>(out, packed, heads, pages, step, tile, kv_head);
    }
}
