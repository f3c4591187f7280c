// From the product of the three projections to what the output projection takes, over keys and values in pages.
#pragma once
#include <cmath>
#include <vector>

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

// What a query has seen so far: the running softmax (Milakov and Gimelshein, 2018).
struct Line {
    float highest, total;
    float* weighted;        // sum of weight times value
    int64_t first, behind;  // keys of this block that it sees
};

// Scores of one query [count keys] become weights, and what it has seen so far is brought down to them. Returns by what.
inline float weigh(float* scores, int64_t count, Line& line, float softcap) {
    Integers lanes;
    for (int lane = 0; lane < LANES; lane++) lanes[lane] = lane;
    Vector most = all(-INFINITY);
    for (int64_t j = 0; j < count; j += LANES) {
        Vector score = load(scores + j);
        if (softcap != 0) score = softcap * (1 - 2 / (exponential(score * (2 / softcap)) + 1));
        Integers index = lanes + int32_t(j);
        score = choose((index >= int32_t(line.first)) & (index < int32_t(line.behind)), score, all(-INFINITY));
        store(scores + j, score);
        most = larger(score, most);
    }
    const float highest = std::max(line.highest, largest(most));
    if (highest == -INFINITY) {  // it sees nothing yet
        std::fill(scores, scores + KEY_BLOCK, 0.0f);
        return 1;
    }
    const float factor = std::exp(line.highest - highest);
    Vector total{};
    for (int64_t j = 0; j < count; j += LANES) {
        Vector weight = exponential(load(scores + j) - highest);
        total += weight;
        store(scores + j, weight);
    }
    line.highest = highest;
    line.total = line.total * factor + sum(total);
    return factor;
}

// Adds the values to LINES weighted sums, VECTORS vectors of each from number `first` on.
template <int LINES, int VECTORS>
inline void add_values(Line* lines, const float (*weights)[KEY_BLOCK], const float* factors, const float* const* values,
                       int64_t count, int64_t first) {
    Vector totals[LINES][VECTORS];
    for (int line = 0; line < LINES; line++)
        for (int i = 0; i < VECTORS; i++)
            totals[line][i] = load(lines[line].weighted + (first + i) * LANES) * factors[line];
    for (int64_t j = 0; j < count; j++) {
        Vector value[VECTORS];
        for (int i = 0; i < VECTORS; i++) value[i] = load(values[j] + (first + i) * LANES);
        for (int line = 0; line < LINES; line++)
            for (int i = 0; i < VECTORS; i++) totals[line][i] += weights[line][j] * value[i];
    }
    for (int line = 0; line < LINES; line++)
        for (int i = 0; i < VECTORS; i++) store(lines[line].weighted + (first + i) * LANES, totals[line][i]);
}

// Queries that are looked at together, and vectors of each that are summed up at a time: as many as registers hold.
constexpr int TOGETHER = 4, VALUE_VECTORS = LANES == 16 ? 4 : 2, SCORE_VECTORS = LANES == 16 ? 4 : 2;

template <int LINES>
void add_block(Line* lines, float (*scores)[KEY_BLOCK], const float* const* values, int64_t count, int64_t vectors,
               float softcap) {
    float factors[LINES];
    for (int line = 0; line < LINES; line++) factors[line] = weigh(scores[line], count, lines[line], softcap);
    int64_t i = 0;
    for (; i + VALUE_VECTORS <= vectors; i += VALUE_VECTORS)
        add_values<LINES, VALUE_VECTORS>(lines, scores, factors, values, count, i);
    for (; i < vectors; i++) add_values<LINES, 1>(lines, scores, factors, values, count, i);
}

// One query, by keys as they are: each product of two vectors is summed up in the end.
inline void look(const float* query, Line* line, const float* const* keys, const float* const* values, int64_t count,
                 int64_t vectors, float softcap) {
    float scores[1][KEY_BLOCK];
    for (int64_t j = 0; j < count; j += LANES) {
        Vector partial[LANES];
        for (int64_t lane = 0; lane < LANES; lane++) {
            // Lanes behind the last key look at it again, and are hidden later.
            const float* key = keys[std::min(j + lane, count - 1)];
            Vector total = load(query) * load(key);
            for (int64_t i = 1; i < vectors; i++) total += load(query + i * LANES) * load(key + i * LANES);
            partial[lane] = total;
        }
        store(scores[0] + j, sums(partial));
    }
    add_block<1>(line, scores, values, count, vectors, softcap);
}

// Keys [count] of `vectors` vectors each as columns: [vectors * LANES, KEY_BLOCK]. Behind the last one it stands again.
inline void turn(const float* const* keys, int64_t count, int64_t vectors, float* columns) {
    for (int64_t j = 0; j < count; j += LANES)
        for (int64_t i = 0; i < vectors; i++) {
            Vector square[LANES];
            for (int64_t lane = 0; lane < LANES; lane++) square[lane] = load(keys[std::min(j + lane, count - 1)] + i * LANES);
            transpose(square);
            for (int64_t lane = 0; lane < LANES; lane++) store(columns + (i * LANES + lane) * KEY_BLOCK + j, square[lane]);
        }
}

// Some queries, by keys that have been turned: `LANES` keys at a time.
template <int LINES>
void look_together(const float* queries, int64_t padded, Line* lines, const float* columns, const float* const* values,
                   int64_t count, int64_t vectors, float softcap) {
    float scores[LINES][KEY_BLOCK];
    for (int64_t j = 0; j < count; j += SCORE_VECTORS * LANES) {
        Vector totals[LINES][SCORE_VECTORS] = {};
        for (int64_t d = 0; d < padded; d++) {
            Vector keys[SCORE_VECTORS];
            for (int i = 0; i < SCORE_VECTORS; i++) keys[i] = load(columns + d * KEY_BLOCK + j + i * LANES);
            for (int line = 0; line < LINES; line++)
                for (int i = 0; i < SCORE_VECTORS; i++) totals[line][i] += queries[line * padded + d] * keys[i];
        }
        for (int line = 0; line < LINES; line++)
            for (int i = 0; i < SCORE_VECTORS; i++) store(scores[line] + j + i * LANES, totals[line][i]);
    }
    add_block<LINES>(lines, scores, values, count, vectors, softcap);
}

// One KV head of one tile: all query heads that share it.
template <class T>
void attend_tile(T* out, const T* packed, const Heads<T>& heads, const Pages<T>& pages, const Step<T>& step, int64_t tile,
                 int64_t kv_head) {
    const int64_t size = heads.head_size, kv_size = heads.num_kv_heads * size;
    const int64_t vectors = (size + LANES - 1) / LANES, padded = vectors * LANES;
    const int64_t group = heads.num_heads / heads.num_kv_heads;
    const int64_t row = step.tile_rows[tile], position = step.tile_positions[tile], rows = step.tile_counts[tile];
    const int64_t num_lines = rows * group;
    const int32_t* table = step.page_table + step.tile_slots[tile] * step.table_width;
    static thread_local std::vector<Line> lines;
    lines.resize(num_lines);
    float* memory = scratch((2 * num_lines + 3 * KEY_BLOCK) * padded);
    float *queries = memory, *weighted = queries + num_lines * padded;
    float *copies = weighted + num_lines * padded, *columns = copies + 2 * KEY_BLOCK * padded;
    std::fill(queries, copies, 0.0f);
    for (int64_t i = 0; i < num_lines; i++) {
        const T* from = packed + (row + i / group) * heads.row_size() + (kv_head * group + i % group) * size;
        for (int64_t j = 0; j < size; j++) queries[i * padded + j] = widen(from[j]) * heads.scaling;
        lines[i] = {-INFINITY, 0, weighted + i * padded, 0, 0};
    }
    const int64_t end = position + rows;
    const int64_t begin = heads.window ? std::max<int64_t>(0, position - heads.window + 1) : 0;
    const float *keys[KEY_BLOCK], *values[KEY_BLOCK];
    for (int64_t first = begin; first < end; first += KEY_BLOCK) {
        const int64_t count = std::min(KEY_BLOCK, end - first);
        int64_t page = first / pages.block_size, offset = first % pages.block_size;
        for (int64_t j = 0; j < count; j++) {
            const int64_t place = table[page] * pages.block_stride + offset * kv_size + kv_head * size;
            if (++offset == pages.block_size) offset = 0, page++;
            keys[j] = widened(pages.keys + place, size, copies + j * padded);
            values[j] = widened(pages.values + place, size, copies + (KEY_BLOCK + j) * padded);
        }
        for (int64_t i = 0; i < num_lines; i++) {
            const int64_t own = position + i / group;
            lines[i].first = heads.window ? own - heads.window + 1 - first : 0;
            lines[i].behind = own + 1 - first;
        }
        if (num_lines >= 2 * TOGETHER) turn(keys, count, vectors, columns);
        int64_t i = 0;
        for (; num_lines >= 2 * TOGETHER && i + TOGETHER <= num_lines; i += TOGETHER)
            look_together<TOGETHER>(queries + i * padded, padded, &lines[i], columns, values, count, vectors, heads.softcap);
        for (; i < num_lines; i++) look(queries + i * padded, &lines[i], keys, values, count, vectors, heads.softcap);
    }
    for (int64_t i = 0; i < num_lines; i++) {
        T* to = out + ((row + i / group) * heads.num_heads + kv_head * group + i % group) * size;
        for (int64_t j = 0; j < size; j++) narrow(lines[i].weighted[j] / lines[i].total, to + j);
    }
}

// out [rows, query heads * head size]. Called by all threads of a team, when all keys and values are stored.
template <class T>
void attend(T* out, const T* packed, const Heads<T>& heads, const Pages<T>& pages, const Step<T>& step) {
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < step.num_tiles * heads.num_kv_heads; task++)
        attend_tile(out, packed, heads, pages, step, task / heads.num_kv_heads, task % heads.num_kv_heads);
}
