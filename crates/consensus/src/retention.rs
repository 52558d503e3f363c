//! When to let go of log by its size: blocks are large, so counting entries alone keeps gigabytes.

use std::collections::VecDeque;

/// Positions of one group's log over time, to find the one that lies a number of bytes back.
pub(crate) struct Retention {
    keep_bytes: u64,
    /// (applied index, bytes applied until then), ascending.
    samples: VecDeque<(u64, u64)>,
    purge_next: Option<u64>,
}

/// Most samples kept; a coarser grid keeps a little more log.
const SAMPLES: usize = 256;

impl Retention {
    pub(crate) fn new(keep_bytes: u64) -> Self {
        Self {
            keep_bytes,
            samples: VecDeque::new(),
            purge_next: None,
        }
    }

    /// Takes a sample. Says whether a snapshot is due, and up to which index the log may go: always
    /// one that the snapshot asked for at the previous call covers.
    pub(crate) fn tick(&mut self, index: u64, bytes: u64) -> (bool, Option<u64>) {
        let purge = self.purge_next.take();
        if self
            .samples
            .back()
            .is_none_or(|(_, last)| bytes - last >= self.step())
        {
            self.samples.push_back((index, bytes));
        }
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
        let mut behind = None;
        while let Some((index, at)) = self.samples.front().copied()
            && bytes - at > self.keep_bytes
        {
            behind = Some(index);
            self.samples.pop_front();
        }
        self.purge_next = behind.filter(|index| *index > 0);
        (self.purge_next.is_some(), purge)
    }

    fn step(&self) -> u64 {
        (self.keep_bytes / 8).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_goes_one_tick_after_its_snapshot_and_not_further_than_asked() {
        let mut retention = Retention::new(100);
        assert_eq!(retention.tick(0, 0), (false, None));
        assert_eq!(retention.tick(5, 90), (false, None));
        assert_eq!(retention.tick(8, 101), (false, None));
        assert_eq!(retention.tick(9, 195), (true, None));
        assert_eq!(retention.tick(9, 195), (false, Some(5)));
        assert_eq!(retention.tick(9, 195), (false, None));
    }
}
