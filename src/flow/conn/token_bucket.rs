//! How fast somebody may go on.

use crate::base::time::{MS, SEC};

/// A measure of how much was said lately. It empties by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// When it would be empty if nothing more were said (monotonic).
    empty: u64,
}

impl Bucket {
    /// Takes one more, where `rate` a second are allowed and `burst` at once.
    ///
    /// # Errors
    /// It is too much; after so many milliseconds one more is taken.
    pub fn take(&mut self, now: u64, rate: u32, burst: u32) -> Result<(), u64> {
        let one = SEC / u64::from(rate).max(1);
        let full = one * u64::from(burst);
        let empty = self.empty.max(now) + one;
        if empty > now + full {
            return Err((empty - now - full).div_ceil(MS));
        }
        self.empty = empty;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Bucket;
    use crate::base::time::{MS, SEC};

    #[test]
    fn takes_a_burst_and_then_the_rate_and_says_when_again() {
        let (mut bucket, mut now) = (Bucket::default(), 5 * SEC);
        let taken =
            |bucket: &mut Bucket, now| (0..1000).take_while(|_| bucket.take(now, 100, 20).is_ok()).count();
        assert_eq!(taken(&mut bucket, now), 20);
        assert_eq!(bucket.take(now, 100, 20), Err(10));
        now += 9 * MS;
        assert_eq!(bucket.take(now, 100, 20), Err(1));
        now += MS;
        assert_eq!(taken(&mut bucket, now), 1);
        let over_a_second: usize = (0..1000)
            .map(|_| {
                now += MS;
                taken(&mut bucket, now)
            })
            .sum();
        assert_eq!(over_a_second, 100);
        assert_eq!(taken(&mut bucket, now + SEC), 20);
    }
}
