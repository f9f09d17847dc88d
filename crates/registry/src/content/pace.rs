//! Limits the speed of reads that nobody waits for.

use std::time::Duration;

use tokio::time::Instant;

/// Lets at most this many bytes per second pass.
pub(crate) struct Pace {
    bytes_per_second: u64,
    next: Instant,
}

impl Pace {
    /// 0 means no limit.
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, next: Instant::now() }
    }

    /// Waits for the time that earlier reads have cost, then adds the cost of these bytes.
    pub(crate) async fn pass(&mut self, bytes: usize) {
        if self.bytes_per_second == 0 {
            return;
        }
        tokio::time::sleep_until(self.next).await;
        self.owe(Instant::now(), bytes);
    }

    fn owe(&mut self, now: Instant, bytes: usize) {
        #[expect(clippy::cast_precision_loss, reason = "a pause need not be exact")]
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        // Idle time earns no credit.
        self.next = self.next.max(now) + cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_kept() {
        let mut pace = Pace::new(1000);
        let begun = pace.next;
        for _ in 0..4 {
            pace.owe(begun, 500);
        }
        assert_eq!((pace.next - begun).as_millis(), 2000);
        // Idle time earns no credit.
        let later = begun + Duration::from_mins(1);
        pace.owe(later, 500);
        assert_eq!((pace.next - later).as_millis(), 500);
    }
}
