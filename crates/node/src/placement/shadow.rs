//! A disk that is read and never written: what is written to it stays in memory. A record store opens
//! on it as on any other, and its file is as it was.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use bailiwick_storage::{Disk, DiskFile};

/// Bytes of a page that is kept in memory once it was written.
const PAGE_BYTES: u64 = 4096;

/// The files below a folder.
pub(super) struct Shadow {
    root: PathBuf,
}

impl Shadow {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }
}

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "only looked at")
}

impl Disk for Shadow {
    fn create(&self, _path: &str) -> io::Result<Box<dyn DiskFile>> {
        Err(read_only())
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = File::open(self.root.join(path))?;
        let length = file.metadata()?.len();
        let written = Mutex::new(Written {
            length,
            original: length,
            pages: BTreeMap::new(),
        });
        Ok(Box::new(ShadowFile { file, written }))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.root.join(directory))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn remove(&self, _path: &str) -> io::Result<()> {
        Err(read_only())
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        Err(read_only())
    }

    fn sync_directory(&self, _directory: &str) -> io::Result<()> {
        Ok(())
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        Ok(self.root.join(path).exists())
    }

    fn create_directory(&self, _path: &str) -> io::Result<()> {
        Err(read_only())
    }
}

struct Written {
    length: u64,
    /// Bytes of the file that still count: less after it was cut.
    original: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

struct ShadowFile {
    file: File,
    written: Mutex<Written>,
}

impl ShadowFile {
    /// A page as the file has it, zeros behind its end.
    fn page(&self, number: u64, original: u64) -> io::Result<Vec<u8>> {
        let mut page = vec![0; PAGE_BYTES as usize];
        let start = number * PAGE_BYTES;
        let there = original.saturating_sub(start).min(PAGE_BYTES) as usize;
        self.file.read_exact_at(&mut page[..there], start)?;
        Ok(page)
    }

    /// The parts of a range, page by page: page, offset in it, offset in the range, length.
    fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
        let mut done = 0;
        std::iter::from_fn(move || {
            if done == length {
                return None;
            }
            let at = offset + done as u64;
            let inner = (at % PAGE_BYTES) as usize;
            let count = (PAGE_BYTES as usize - inner).min(length - done);
            let part = (at / PAGE_BYTES, inner, done, count);
            done += count;
            Some(part)
        })
    }
}

impl DiskFile for ShadowFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, inner, from, count) in Self::parts(offset, bytes.len()) {
            if !written.pages.contains_key(&number) {
                let page = self.page(number, written.original)?;
                written.pages.insert(number, page);
            }
            if let Some(page) = written.pages.get_mut(&number) {
                page[inner..inner + count].copy_from_slice(&bytes[from..from + count]);
            }
        }
        written.length = written.length.max(offset + bytes.len() as u64);
        Ok(())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if offset + bytes.len() as u64 > written.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, inner, from, count) in Self::parts(offset, bytes.len()) {
            let into = &mut bytes[from..from + count];
            match written.pages.get(&number) {
                Some(page) => into.copy_from_slice(&page[inner..inner + count]),
                None => {
                    let start = number * PAGE_BYTES + inner as u64;
                    let there = written.original.saturating_sub(start).min(count as u64) as usize;
                    into[there..].fill(0);
                    self.file.read_exact_at(&mut into[..there], start)?;
                }
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(written.length)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if length < written.length {
            // What was cut off reads as zeros when the file grows again.
            let kept = length / PAGE_BYTES;
            let inner = (length % PAGE_BYTES) as usize;
            let mut page = match written.pages.remove(&kept) {
                Some(page) => page,
                None => self.page(kept, written.original)?,
            };
            page[inner..].fill(0);
            written.pages.retain(|number, _| *number < kept);
            if inner > 0 {
                written.pages.insert(kept, page);
            }
            written.original = written.original.min(length);
        }
        written.length = length;
        Ok(())
    }
}
