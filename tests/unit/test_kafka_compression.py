"""What the Kafka appender's batches are compressed with."""

from __future__ import annotations

from aiokafka.codec import zstd_encode
from aiokafka.record.default_records import DefaultRecordBatchBuilder

import shared.eventlog.kafka  # noqa: F401  sets the level

TEXT = b'{"event":"Product Viewed","n":%d},' * 2000 % tuple(range(2000))


def test_batches_are_compressed_at_the_quick_level() -> None:
    built = []
    for compression in (0, 4):
        builder = DefaultRecordBatchBuilder(
            magic=2, compression_type=compression, is_transactional=0, producer_id=-1, producer_epoch=-1,
            base_sequence=0, batch_size=1 << 20,
        )  # fmt: skip
        builder.append(0, timestamp=0, key=None, value=TEXT, headers=[])
        built.append(bytes(builder.build()))
    records = built[0][61:]  # what follows the header of a batch
    assert built[1][61:] == zstd_encode(records, level=1)
    assert zstd_encode(records, level=1) != zstd_encode(records)
