#ifndef TESSERA_CSENTENCEPIECE_H
#define TESSERA_CSENTENCEPIECE_H

// A C view of libsentencepiece. No C++ exception leaves these functions. They check every id and size they are
// given, but the library itself ends the process on some broken models, so callers must check the bytes first.

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// An open model. Immutable once open, hence safe to read from several threads.
typedef struct tessera_sp_model tessera_sp_model;

/// Opens a serialized model; the bytes are copied. Returns NULL on failure and writes a zero-terminated message.
tessera_sp_model *tessera_sp_open(const uint8_t *bytes, size_t count, char *message, size_t message_capacity);

/// Closes a model; NULL is allowed.
void tessera_sp_close(tessera_sp_model *model);

/// The number of pieces.
int32_t tessera_sp_piece_count(const tessera_sp_model *model);

/// The length in bytes of the piece with this id, of which at most `capacity` bytes are written; -1 if out of range.
int64_t tessera_sp_piece(const tessera_sp_model *model, int32_t id, uint8_t *bytes, size_t capacity);

/// The log probability of a piece; 0 if the id is out of range.
float tessera_sp_score(const tessera_sp_model *model, int32_t id);

/// The id of a piece, or the unknown id.
int32_t tessera_sp_id(const tessera_sp_model *model, const uint8_t *bytes, size_t count);

/// The ids with a meaning, or -1 where the model defines none.
int32_t tessera_sp_unknown_id(const tessera_sp_model *model);
int32_t tessera_sp_pad_id(const tessera_sp_model *model);
int32_t tessera_sp_end_id(const tessera_sp_model *model);

/// Encodes UTF-8. Returns how many ids there are, of which at most `capacity` are written; -1 on failure.
int64_t tessera_sp_encode(
  const tessera_sp_model *model, const uint8_t *text, size_t count, int32_t *ids, size_t capacity);

#ifdef __cplusplus
}
#endif

#endif
