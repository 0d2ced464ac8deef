//! How RocksDB is set up.

use rocksdb::{BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, Options};

use super::batch::Family;

/// Options of the cold store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColdOptions {
    /// Bytes of the cache for index, filter and small data blocks.
    pub cache_bytes: usize,
    /// Bytes written that are held in memory, over all column families, before they go to files.
    pub write_buffer_bytes: usize,
    /// Files kept open.
    pub open_files_max: i32,
}

impl Default for ColdOptions {
    fn default() -> Self {
        Self { cache_bytes: 8 << 20, write_buffer_bytes: 24 << 20, open_files_max: 256 }
    }
}

/// Values from this size on live in blob files.
const BLOB_BYTES_MIN: u64 = 4 << 10;
/// A blob file goes when nothing in it is alive: small ones go sooner.
const BLOB_FILE_BYTES: u64 = 32 << 20;

impl ColdOptions {
    pub(super) fn database(&self) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        // All families are flushed together: without a log of its own, only this keeps a batch whole.
        options.set_atomic_flush(true);
        options.set_db_write_buffer_size(self.write_buffer_bytes);
        options.set_max_open_files(self.open_files_max);
        options.set_max_background_jobs(2);
        options.set_bytes_per_sync(1 << 20);
        options.set_keep_log_file_num(2);
        options.set_max_log_file_size(1 << 20);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options.set_skip_stats_update_on_db_open(true);
        options
    }

    pub(super) fn families(&self) -> Vec<ColumnFamilyDescriptor> {
        let cache = Cache::new_lru_cache(self.cache_bytes);
        let describe =
            |family: Family| ColumnFamilyDescriptor::new(family.name(), self.family(family, &cache));
        Family::ALL.into_iter().map(describe).collect()
    }

    fn family(&self, family: Family, cache: &Cache) -> Options {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(cache);
        table.set_cache_index_and_filter_blocks(true);
        table.set_bloom_filter(10.0, false);
        table.set_format_version(6);
        let mut options = Options::default();
        options.set_block_based_table_factory(&table);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_max_write_buffer_number(2);
        options.set_target_file_size_base(4 << 20);
        options.set_level_compaction_dynamic_level_bytes(true);
        if family == Family::Data {
            options.set_write_buffer_size(self.write_buffer_bytes);
            set_blobs(&mut options);
        } else {
            options.set_write_buffer_size(self.write_buffer_bytes / 4);
        }
        options
    }
}

fn set_blobs(options: &mut Options) {
    options.set_enable_blob_files(true);
    options.set_min_blob_size(BLOB_BYTES_MIN);
    options.set_blob_file_size(BLOB_FILE_BYTES);
    options.set_blob_compression_type(DBCompressionType::Lz4);
    // Left on, every compaction would move the oldest share of the whole backlog: see `garbage`.
    options.set_enable_blob_gc(false);
    // The files of this family hold little more than keys: few compactions of many are cheaper.
    options.set_level_zero_file_num_compaction_trigger(8);
}

impl Family {
    pub(super) const ALL: [Self; 6] =
        [Self::Default, Self::Meta, Self::Queues, Self::Chunks, Self::Data, Self::Due];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Meta => "meta",
            Self::Queues => "queues",
            Self::Chunks => "chunks",
            Self::Data => "data",
            Self::Due => "due",
        }
    }
}
