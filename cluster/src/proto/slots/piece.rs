//! How much goes into one message.

use super::Settings;

/// What is left of a message: some entries or the like, and their bytes. The first always fits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    count: usize,
    bytes: usize,
    is_empty: bool,
}

impl Piece {
    /// An empty message.
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            count: settings.fetch_entries,
            bytes: settings.fetch_bytes,
            is_empty: true,
        }
    }

    /// One that at most so many may go into.
    pub(super) fn at_most(settings: &Settings, count: usize) -> Self {
        Self {
            count: settings.fetch_entries.min(count),
            ..Self::new(settings)
        }
    }

    /// Takes one that is so large, unless it must wait for the next message.
    pub(super) fn fits(&mut self, size: usize) -> bool {
        let fits = self.is_empty || (self.count > 0 && self.bytes >= size);
        if fits {
            self.is_empty = false;
            self.count = self.count.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(size);
        }
        fits
    }

    /// Leaves less for others.
    pub(super) fn reserve(&mut self, size: usize) {
        self.bytes = self.bytes.saturating_sub(size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(count: usize, bytes: usize) -> Piece {
        Piece {
            count,
            bytes,
            is_empty: true,
        }
    }

    #[test]
    fn the_first_fits_whatever_its_size() {
        let mut piece = piece(2, 10);
        assert!(piece.fits(50) && !piece.fits(1));
    }

    #[test]
    fn both_bounds_hold() {
        let mut few = piece(2, 10);
        assert!(few.fits(4) && few.fits(4) && !few.fits(1));
        let mut small = piece(9, 10);
        assert!(small.fits(4) && !small.fits(7) && small.fits(6));
    }
}
