//! The steps as a table for people, as CSV, and as plots.

use std::fmt::{self, Write as _};
use std::path::Path;

use super::{Outcome, Step};
use crate::network::Report;
use crate::network::report::{Quantiles, Utilisation};
use crate::network::units::Rate;
use crate::plot::{self, Axis, Plot};

const COLUMNS: &str = "rate_per_s,offered_per_s,attached_per_s,transactions_per_s,saturated,saturated_runs,runs,attach_p50_ms,attach_p99_ms,\
    reading_p50_ms,reading_p99_ms,bytes_per_gateway_s,core_loop,workers,verify,sign,seal,net,cpu,disk,uplink,downlink,\
    link,memory,fullest\n";

/// A number or nothing.
fn cell(number: Option<f64>) -> String {
    number.map_or_else(String::new, |number| format!("{number:.1}"))
}

impl Step {
    fn row(&self) -> String {
        let reading = |of: fn(&Quantiles) -> Option<f64>| self.median(|r| of(&r.reading_attach_latency_ms));
        let attach = |of: fn(&Quantiles) -> Option<f64>| self.median(|r| of(&r.attach_latency_ms));
        let mut row = format!(
            "{},{:.2},{:.2},{:.2},{},{},{},{},{},{},{},{:.0}",
            self.rate.as_per_s(),
            self.offered_per_s,
            self.attached_per_s,
            self.transactions_per_s,
            u8::from(self.saturated.is_some()),
            self.saturated_runs(),
            self.runs.len(),
            cell(attach(|q| q.p50)),
            cell(attach(|q| q.p99)),
            cell(reading(|q| q.p50)),
            cell(reading(|q| q.p99)),
            self.median(|r| Some(r.bytes_per_gateway_s)).unwrap_or_default(),
        );
        for share in SHARES {
            // Writing to a string does not fail.
            let _ = write!(row, ",{:.4}", self.median(|r| Some(share(&r.utilisation))).unwrap_or_default());
        }
        let _ = writeln!(row, ",\"{}\"", self.fullest().0);
        row
    }
}

/// In the order of the columns.
const SHARES: [fn(&Utilisation) -> f64; 12] = [
    |used| used.core_loop,
    |used| used.workers,
    |used| used.verify,
    |used| used.sign,
    |used| used.seal,
    |used| used.net,
    |used| used.cpu,
    |used| used.disk,
    |used| used.uplink,
    |used| used.downlink,
    |used| used.link,
    |used| used.memory,
];

impl Outcome {
    /// One line for each load, ascending.
    pub fn csv(&self) -> String {
        COLUMNS.to_owned() + &self.steps.iter().map(Step::row).collect::<String>()
    }

    /// What was attached for what was offered; readings per second, all gateways together.
    pub fn throughput_plot(&self, title: &str) -> Plot {
        let ideal = self.steps.iter().map(|step| (step.offered_per_s, step.offered_per_s));
        let axis = |name: &str| Axis::new(name).log();
        Plot::new(title, axis("readings offered a second"), axis("readings attached everywhere a second"))
            .line("attached", self.steps.iter().map(|step| (step.offered_per_s, step.attached_per_s)))
            .dashed("as many as offered", ideal)
    }

    /// How long a reading took to the last gateway.
    pub fn latency_plot(&self, title: &str) -> Plot {
        let points = |of: fn(&Report) -> Option<f64>| {
            let point = move |step: &Step| step.median(of).map(|ms| (step.offered_per_s, ms));
            self.steps.iter().filter_map(point).collect::<Vec<_>>()
        };
        let p50 = points(|report| report.reading_attach_latency_ms.p50);
        let p99 = points(|report| report.reading_attach_latency_ms.p99);
        let axis = |name: &str| Axis::new(name).log();
        Plot::new(title, axis("readings offered a second"), axis("ms from arrival to the last gateway"))
            .line("p50", p50)
            .line("p99", p99)
    }

    /// Writes `throughput.csv`, `throughput.svg` and `latency.svg`; the folder is made when it is not there.
    ///
    /// # Errors
    /// The file that cannot be written, and why.
    pub fn write(&self, folder: &Path, title: &str) -> Result<(), String> {
        let failed = |why: std::io::Error| format!("cannot write to {}: {why}", folder.display());
        std::fs::create_dir_all(folder).map_err(failed)?;
        std::fs::write(folder.join("throughput.csv"), self.csv()).map_err(failed)?;
        for (name, plot) in
            [("throughput.svg", self.throughput_plot(title)), ("latency.svg", self.latency_plot(title))]
        {
            match plot.write(&folder.join(name)) {
                // Without a point, such as latencies when nothing was attached, there is no plot.
                Ok(()) | Err(plot::Error::Empty(_)) => {}
                Err(why) => return Err(why.to_string()),
            }
        }
        Ok(())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "    readings a second     saturated  transactions   reading → last gateway   kB/s a")?;
        writeln!(
            f,
            "    offered     attached       runs      a second      p50 ms      p99 ms   gateway  fullest"
        )?;
        for step in &self.steps {
            let ms = |of: fn(&Quantiles) -> Option<f64>| {
                let ms = step.median(|report| of(&report.reading_attach_latency_ms));
                ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0}"))
            };
            let mark = if step.saturated.is_some() { "*" } else { " " };
            let saturated = format!("{} of {}", step.saturated_runs(), step.runs.len());
            let (name, share) = step.fullest();
            writeln!(
                f,
                "  {mark}{:>8.1} {:>12.1} {saturated:>10} {:>13.1} {:>11} {:>11} {:>9.1}  {name} {:.0} %",
                step.offered_per_s,
                step.attached_per_s,
                step.transactions_per_s,
                ms(|q| q.p50),
                ms(|q| q.p99),
                step.median(|report| Some(report.bytes_per_gateway_s)).unwrap_or_default() / 1e3,
                share * 100.0
            )?;
        }
        let at = |rate: Option<Rate>| self.steps.iter().find(|step| Some(step.rate) == rate);
        if let Some(why) = at(self.too_much).and_then(|step| step.saturated.as_ref()) {
            writeln!(f, "  * too much; the lightest of these: {why}")?;
        }
        match at(self.carried) {
            Some(step) => writeln!(
                f,
                "  carries   {:.0} readings a second ({} of each gateway), in {:.1} transactions a second",
                step.offered_per_s, step.rate, step.transactions_per_s
            )?,
            None => writeln!(f, "  carries   not even the lightest load that was tried")?,
        }
        if !self.complete {
            writeln!(
                f,
                "            at least: all {} steps were used up before the limit was found",
                self.steps.len()
            )?;
        }
        write!(f, "  limited by {}", self.bottleneck)
    }
}
