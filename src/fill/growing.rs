//! A body while it arrives: bytes by their offset, in blocks that end up holding nothing else.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use crate::store::Blocks;

/// Bytes are put together into blocks of this size.
const BLOCK: usize = 256 * 1024;
/// A body up to this size ends up in one block, which a server writes at once.
const ONE_BLOCK: u64 = 1024 * 1024;
/// A frame smaller than this is copied at once, so that it does not keep a read buffer alive.
const SMALL: usize = 8 * 1024;
/// What a piece costs beside its bytes.
const PIECE_OVERHEAD: u64 = 64;

#[derive(Debug, Default)]
pub(super) struct Growing {
    pieces: VecDeque<Piece>,
    /// Pieces before this one are blocks.
    blocks: usize,
    /// Offset of the first byte that came.
    origin: u64,
    /// Offset of the first byte held, and of the first byte not yet there.
    start: u64,
    end: u64,
}

#[derive(Debug)]
struct Piece {
    at: u64,
    bytes: Bytes,
}

impl Growing {
    /// A part of a body, that begins at `first`.
    pub(super) fn starting_at(first: u64) -> Self {
        Self { origin: first, start: first, end: first, ..Self::default() }
    }

    /// Whether nothing that came was let go.
    pub(super) fn is_complete(&self) -> bool {
        self.start == self.origin
    }

    /// The number of bytes that have come.
    pub(super) fn received(&self) -> u64 {
        self.end - self.origin
    }

    /// The offset of the first byte that came, or is to come.
    pub(super) fn first(&self) -> u64 {
        self.origin
    }

    /// The offset of the first byte held.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The offset of the first byte that has not come.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Bytes held, with what holding them costs.
    pub(super) fn held(&self) -> u64 {
        self.end - self.start + self.pieces.len() as u64 * PIECE_OVERHEAD
    }

    /// Adds a frame. Large ones are kept as they are until a block's worth has come, then copied out of the buffer they
    /// are a slice of.
    pub(super) fn push(&mut self, frame: Bytes) {
        if frame.is_empty() {
            return;
        }
        let small = frame.len() < SMALL;
        let bytes = if small { Bytes::copy_from_slice(&frame) } else { frame };
        let at = self.end;
        self.end += bytes.len() as u64;
        self.pieces.push_back(Piece { at, bytes });
        if small {
            self.merge_small();
        }
        let open = self.pieces.get(self.blocks).map_or(0, |first| self.end - first.at);
        if open >= BLOCK as u64 {
            self.close_block();
        }
    }

    /// Puts small neighbours together while the last is not smaller than the one before, so that a trickle of bytes
    /// ends up in few pieces and each byte is copied a few times only.
    fn merge_small(&mut self) {
        while let [.., before, last] = self.pieces.make_contiguous()
            && before.bytes.len() < SMALL
            && last.bytes.len() >= before.bytes.len()
            && self.pieces.len() - self.blocks >= 2
        {
            let last = self.pieces.pop_back().map(|piece| piece.bytes).unwrap_or_default();
            if let Some(before) = self.pieces.back_mut() {
                before.bytes = [&before.bytes[..], &last[..]].concat().into();
            }
        }
    }

    /// Copies the pieces since the last block into one of their own.
    fn close_block(&mut self) {
        // One that is small has been copied already.
        if self.pieces.len() - self.blocks > 1
            || self.pieces.back().is_some_and(|piece| piece.bytes.len() >= SMALL)
        {
            self.put_together();
        }
        self.blocks = self.pieces.len();
    }

    fn put_together(&mut self) {
        let open = self.pieces.split_off(self.blocks);
        let Some(first) = open.front() else { return };
        let at = first.at;
        let mut block = BytesMut::with_capacity((self.end - at) as usize);
        for piece in &open {
            block.extend_from_slice(&piece.bytes);
        }
        self.pieces.push_back(Piece { at, bytes: block.freeze() });
    }

    /// Lets go of whole pieces before `offset`.
    pub(super) fn release_before(&mut self, offset: u64) {
        while let Some(first) = self.pieces.front()
            && first.at + first.bytes.len() as u64 <= offset
        {
            self.start = first.at + first.bytes.len() as u64;
            self.pieces.pop_front();
            self.blocks = self.blocks.saturating_sub(1);
        }
    }

    /// The longest run of bytes at hand from the start of `range`; empty if none has come yet.
    pub(super) fn run(&self, range: &Range<u64>) -> Bytes {
        let after = self.pieces.partition_point(|piece| piece.at <= range.start);
        let Some(piece) = after.checked_sub(1).and_then(|at| self.pieces.get(at)) else {
            return Bytes::new();
        };
        let from = (range.start - piece.at) as usize;
        let to = (range.end - piece.at).min(piece.bytes.len() as u64) as usize;
        if from >= to { Bytes::new() } else { piece.bytes.slice(from..to) }
    }

    /// The whole body, if nothing of it was let go.
    pub(super) fn finish(&mut self) -> Option<Blocks> {
        if !self.is_complete() {
            return None;
        }
        if self.pieces.len() > 1 && self.received() <= ONE_BLOCK {
            self.blocks = 0;
        }
        if self.blocks < self.pieces.len() {
            self.close_block();
        }
        Some(Blocks::new(self.pieces.iter().map(|piece| piece.bytes.clone()).collect::<SmallVec<_>>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n * 7 + n / 251) as u8).collect()
    }

    fn read(growing: &Growing, mut range: Range<u64>) -> Vec<u8> {
        let mut read = Vec::new();
        while !range.is_empty() {
            let run = growing.run(&range);
            if run.is_empty() {
                break;
            }
            range.start += run.len() as u64;
            read.extend_from_slice(&run);
        }
        read
    }

    #[test]
    fn every_frame_size_gives_the_same_bytes() {
        let whole = content(700_000);
        for frame in [1, 7, 100, 8_191, 8_192, 65_536, 262_144, 300_000, 700_000] {
            let mut growing = Growing::default();
            for chunk in whole.chunks(frame) {
                growing.push(Bytes::copy_from_slice(chunk));
            }
            assert_eq!(read(&growing, 0..700_000), whole, "{frame}");
            assert_eq!(read(&growing, 262_000..263_000), whole[262_000..263_000], "{frame}");
            let blocks = growing.finish().unwrap();
            assert_eq!(blocks.len(), 700_000);
            assert_eq!(read(&growing, 5..699_999), whole[5..699_999], "{frame}");
        }
    }

    #[test]
    fn a_trickle_costs_little_more_than_its_bytes() {
        let mut growing = Growing::default();
        for byte in content(100_000) {
            growing.push(Bytes::from(vec![byte]));
        }
        assert!(growing.held() < 110_000, "{}", growing.held());
    }

    #[test]
    fn stored_blocks_are_right_sized_copies() {
        let buffer = Bytes::from(content(1 << 20));
        let mut growing = Growing::default();
        growing.push(buffer.slice(0..20_000));
        let blocks = growing.finish().unwrap();
        let block = blocks.single().unwrap();
        assert_ne!(block.as_ptr(), buffer.as_ptr());
    }

    #[test]
    fn a_small_body_is_copied_out_of_its_buffer_once() {
        let buffer = Bytes::from(content(1 << 20));
        for frames in [&[1][..], &[SMALL - 1], &[SMALL], &[100, 200], &[300, 10]] {
            let mut growing = Growing::default();
            for &frame in frames {
                let at = growing.end() as usize;
                growing.push(buffer.slice(at..at + frame));
            }
            let (length, pieces) = (growing.end(), growing.pieces.len());
            let shown = growing.run(&(0..length));
            let block = growing.finish().unwrap().single().unwrap().clone();
            assert_eq!(block, buffer[..length as usize]);
            assert!(!buffer.as_ptr_range().contains(&block.as_ptr()), "{frames:?}");
            let is_small = pieces == 1 && shown.len() < SMALL;
            assert_eq!(block.as_ptr() == shown.as_ptr(), is_small, "{frames:?}");
            drop((growing, shown));
            // Alone in its allocation, which is as large as it is.
            assert_eq!(Vec::from(block).capacity() as u64, length, "{frames:?}");
        }
    }

    #[test]
    fn a_body_of_a_mebibyte_ends_up_in_one_block() {
        for (length, is_one) in [(ONE_BLOCK as usize, true), (ONE_BLOCK as usize + 1, false)] {
            let (whole, mut growing) = (content(length), Growing::default());
            for chunk in whole.chunks(50_000) {
                growing.push(Bytes::copy_from_slice(chunk));
            }
            let blocks = growing.finish().unwrap();
            assert_eq!(blocks.single().is_some_and(|block| block == whole), is_one);
            assert_eq!(read(&growing, 0..length as u64), whole);
        }
    }

    #[test]
    fn what_was_let_go_is_gone_and_the_rest_is_there() {
        let whole = content(1 << 20);
        let mut growing = Growing::default();
        for chunk in whole.chunks(50_000) {
            growing.push(Bytes::copy_from_slice(chunk));
        }
        growing.release_before(600_000);
        assert!(growing.start() > 0 && growing.start() <= 600_000);
        assert!(growing.run(&(0..10)).is_empty());
        assert_eq!(read(&growing, 600_000..1 << 20), whole[600_000..]);
        assert!(growing.finish().is_none());
        assert_eq!(growing.end(), 1 << 20);
    }
}
