//! The clock of the process, for what need not agree with other processes: leases live by the clock of the database.

pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
