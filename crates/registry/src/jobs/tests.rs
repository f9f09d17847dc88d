use std::time::Duration;

use super::runner::pause_after;

#[test]
fn pauses_double_and_stop_growing() {
    let pauses: Vec<u128> = (0..9).map(|failures| pause_after(failures).as_millis()).collect();
    assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    assert_eq!(pause_after(i64::MAX), Duration::from_secs(30));
}
