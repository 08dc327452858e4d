//! What was full, in words.

use crate::network::Report;

/// What is not the first to be full when it is not this full.
const FULL: f64 = 0.7;
/// Bytes that wait for one peer and are more than a burst.
const MANY_SEND_BYTES: usize = 128 * 1024;

/// What limits a run that is saturated.
pub fn of(report: &Report) -> String {
    let (name, share) = report.utilisation.ranked()[0];
    if share >= FULL {
        return format!("{name} ({:.0} % of the load's time)", share * 100.0);
    }
    let fullest = format!("nothing is full (most: {name}, {:.0} %)", share * 100.0);
    if report.queue_peaks.send_bytes > MANY_SEND_BYTES {
        return format!("the windows of the connections: {fullest}, and frames wait to be sent");
    }
    // Where does a reading spend its time: on its way between gateways, or before its transaction is made?
    let (attach, reading) = (report.attach_latency_ms.p90, report.reading_attach_latency_ms.p90);
    if let (Some(attach), Some(reading)) = (attach, reading)
        && attach * 2.0 > reading
    {
        return format!(
            "the windows of the connections (delay and loss): {fullest}, and a transaction takes up to {attach:.0} ms to \
             another gateway (p90)"
        );
    }
    format!(
        "the wait for sealing, signature and sync, since a gateway makes one transaction at a time: {fullest}, and {} \
         readings wait",
        report.queue_peaks.backlog_readings
    )
}
