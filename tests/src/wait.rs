//! Waiting for something to become true, with a limit and a name for what was waited for.

use std::time::{Duration, Instant};

/// Interval between two tries: short against what is waited for, long against a request.
const INTERVAL: Duration = Duration::from_millis(100);

/// Asks until there is an answer, and returns it. Panics when `limit` has passed.
pub async fn until<T, F>(what: &str, limit: Duration, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(start.elapsed() < limit, "waited {} s in vain for: {what}", limit.as_secs());
        tokio::time::sleep(INTERVAL).await;
    }
}
