//! The names of results: flat, so that an expectation, a column and a plot can name one.

use serde_json::{Map, Value};

/// Results that are decided by the machine and not by the seed. They stand in a file of their own.
pub const OF_THE_MACHINE: &[&str] = &["attachments_per_cpu_s", "cpu_s", "transactions_per_cpu_s"];

/// Of `selvedge-sim tangle`, and how far the mean number of tips is from the equilibrium k·λ·h/(k−1), as a share of it.
pub(super) const TANGLE: &[&str] = &[
    "cpu_s",
    "first_approval.longest",
    "first_approval.p50",
    "first_approval.p90",
    "first_approval.p99",
    "first_approval_mean",
    "judged",
    "mean_tips",
    "never_approved_share",
    "revealed_tips_mean",
    "tagged",
    "tips_deviation",
    "tips_expected",
    "tips_sd",
    "trace_hash",
    "transactions",
    "transactions_per_cpu_s",
    "visible_tips_mean",
    "visible_tips_sd",
    "warmup",
];

/// Of `selvedge-sim network`.
pub(super) const NETWORK: &[&str] = &[
    "attach_latency_ms.p50",
    "attach_latency_ms.p90",
    "attach_latency_ms.p99",
    "attached",
    "attachments",
    "attachments_per_cpu_s",
    "bytes_per_gateway_s",
    "bytes_per_transaction",
    "core_bytes",
    "cpu_s",
    "drained",
    "dropped_frames",
    "duplicates",
    "durable_latency_ms.p50",
    "durable_latency_ms.p90",
    "durable_latency_ms.p99",
    "inputs",
    "ledgers_equal",
    "messages_per_gateway_s",
    "messages_per_transaction",
    "notes",
    "offered",
    "queue_peaks.arrivals",
    "queue_peaks.backlog_readings",
    "queue_peaks.loop_inputs",
    "queue_peaks.pending",
    "queue_peaks.send_bytes",
    "queue_peaks.send_frames",
    "queue_peaks.work",
    "queue_peaks.write_bytes",
    "reading_attach_latency_ms.p50",
    "reading_attach_latency_ms.p90",
    "reading_attach_latency_ms.p99",
    "reading_witness_latency_ms.p50",
    "reading_witness_latency_ms.p90",
    "reading_witness_latency_ms.p99",
    "refused",
    "resent_packets",
    "steady_attached_per_s",
    "steady_transactions_per_s",
    "tips_mean",
    "tips_most",
    "trace_hash",
    "transactions",
    "transactions_attached",
    "transactions_witnessed",
    "utilisation.core_loop",
    "utilisation.cpu",
    "utilisation.disk",
    "utilisation.downlink",
    "utilisation.link",
    "utilisation.memory",
    "utilisation.net",
    "utilisation.seal",
    "utilisation.sign",
    "utilisation.uplink",
    "utilisation.verify",
    "utilisation.workers",
    "virtual_s",
    "witness_latency_ms.p50",
    "witness_latency_ms.p90",
    "witness_latency_ms.p99",
    "witnessed",
];

/// What reports repeat of their parameters.
pub(super) const PARAMETERS: &[&str] = &["arrivals", "h", "k", "lambda", "seed", "tips"];

/// Numbers, texts and yes or no of an object by flat names; lists are left out.
pub(super) fn flatten(prefix: &str, value: &Value, into: &mut Map<String, Value>) {
    match value {
        Value::Object(object) => {
            for (key, inner) in object {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&name, inner, into);
            }
        }
        Value::Array(_) | Value::Null => {}
        single => {
            into.insert(prefix.to_owned(), single.clone());
        }
    }
}
