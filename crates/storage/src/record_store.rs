//! Skeleton.
use crate::disk::Disk;
use bailiwick_types::store::{ReadStore, Row, StoreError, Table, WriteStore};
use std::{ops::Bound, sync::Arc};
/// Options.
#[derive(Clone, Debug)]
pub struct RecordStoreOptions {
    /// Bytes of pages kept in memory.
    pub cache_bytes: usize,
}
impl Default for RecordStoreOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
        }
    }
}
/// Store.
#[derive(Clone)]
pub struct RecordStore;
/// View.
pub struct StoreView;
#[allow(missing_docs, clippy::unimplemented, unused)]
impl RecordStore {
    pub fn open(
        disk: &Arc<dyn Disk>,
        path: &str,
        options: &RecordStoreOptions,
    ) -> Result<Self, StoreError> {
        unimplemented!()
    }
    pub fn write<T>(
        &self,
        change: impl FnOnce(&mut dyn WriteStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        unimplemented!()
    }
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        unimplemented!()
    }
    pub fn read(&self) -> Result<StoreView, StoreError> {
        unimplemented!()
    }
    pub fn file_bytes(&self) -> Result<u64, StoreError> {
        unimplemented!()
    }
    pub fn compact(&self) -> Result<bool, StoreError> {
        unimplemented!()
    }
}
#[allow(clippy::unimplemented, unused)]
impl ReadStore for StoreView {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        unimplemented!()
    }
    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        unimplemented!()
    }
    fn last(&self, table: Table) -> Result<Option<Row>, StoreError> {
        unimplemented!()
    }
    fn tables(&self) -> Result<Vec<Table>, StoreError> {
        unimplemented!()
    }
}
