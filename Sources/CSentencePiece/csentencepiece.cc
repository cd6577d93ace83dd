#include "CSentencePiece.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <string_view>
#include <vector>

struct tessera_sp_model {
  sentencepiece::SentencePieceProcessor processor;
};

namespace {

/// The result of `body`, or `otherwise` if it throws.
template <typename Result, typename Body>
Result guarded(Result otherwise, Body body) noexcept {
  try {
    return body();
  } catch (...) {
    return otherwise;
  }
}

bool holds(const tessera_sp_model *model, int32_t id) {
  return model != nullptr && id >= 0 && id < model->processor.GetPieceSize();
}

std::string_view view(const uint8_t *bytes, size_t count) {
  return count == 0 ? std::string_view() : std::string_view(reinterpret_cast<const char *>(bytes), count);
}

void report(const char *text, char *message, size_t capacity) {
  if (message != nullptr && capacity > 0) std::snprintf(message, capacity, "%s", text);
}

}  // namespace

extern "C" {

tessera_sp_model *tessera_sp_open(const uint8_t *bytes, size_t count, char *message, size_t message_capacity) {
  try {
    auto model = std::make_unique<tessera_sp_model>();
    const auto status = model->processor.LoadFromSerializedProto(view(bytes, count));
    if (status.ok()) return model.release();
    report(status.error_message(), message, message_capacity);
  } catch (const std::exception &error) {
    report(error.what(), message, message_capacity);
  } catch (...) {
    report("unknown failure", message, message_capacity);
  }
  return nullptr;
}

void tessera_sp_close(tessera_sp_model *model) { delete model; }

int32_t tessera_sp_piece_count(const tessera_sp_model *model) {
  return guarded(0, [&] { return model == nullptr ? 0 : model->processor.GetPieceSize(); });
}

int64_t tessera_sp_piece(const tessera_sp_model *model, int32_t id, uint8_t *bytes, size_t capacity) {
  return guarded<int64_t>(-1, [&]() -> int64_t {
    if (!holds(model, id)) return -1;
    const auto &piece = model->processor.IdToPiece(id);
    const size_t written = std::min(capacity, piece.size());
    if (written > 0) std::memcpy(bytes, piece.data(), written);
    return static_cast<int64_t>(piece.size());
  });
}

float tessera_sp_score(const tessera_sp_model *model, int32_t id) {
  return guarded(0.0f, [&] { return holds(model, id) ? model->processor.GetScore(id) : 0.0f; });
}

int32_t tessera_sp_id(const tessera_sp_model *model, const uint8_t *bytes, size_t count) {
  return guarded(-1, [&] { return model == nullptr ? -1 : model->processor.PieceToId(view(bytes, count)); });
}

int32_t tessera_sp_unknown_id(const tessera_sp_model *model) {
  return guarded(-1, [&] { return model == nullptr ? -1 : model->processor.unk_id(); });
}

int32_t tessera_sp_pad_id(const tessera_sp_model *model) {
  return guarded(-1, [&] { return model == nullptr ? -1 : model->processor.pad_id(); });
}

int32_t tessera_sp_end_id(const tessera_sp_model *model) {
  return guarded(-1, [&] { return model == nullptr ? -1 : model->processor.eos_id(); });
}

int64_t tessera_sp_encode(
  const tessera_sp_model *model, const uint8_t *text, size_t count, int32_t *ids, size_t capacity) {
  return guarded<int64_t>(-1, [&]() -> int64_t {
    if (model == nullptr) return -1;
    std::vector<int> found;
    if (!model->processor.Encode(view(text, count), &found).ok()) return -1;
    for (size_t index = 0; index < std::min(capacity, found.size()); ++index) ids[index] = found[index];
    return static_cast<int64_t>(found.size());
  });
}

}  // extern "C"
