//! The steps as a table for people, as CSV, and as plots.

use std::fmt::{self, Write as _};
use std::path::Path;

use super::{Outcome, Step};
use crate::plot::{self, Axis, Plot};

const COLUMNS: &str = "rate_per_s,offered_per_s,attached_per_s,transactions_per_s,saturated,attach_p50_ms,attach_p99_ms,\
    reading_p50_ms,reading_p99_ms,bytes_per_gateway_s,core_loop,workers,verify,sign,seal,net,cpu,disk,uplink,downlink,\
    link,memory,fullest\n";

/// A number or nothing.
fn cell(number: Option<f64>) -> String {
    number.map_or_else(String::new, |number| format!("{number:.1}"))
}

impl Step {
    fn row(&self) -> String {
        let (report, used) = (&self.report, &self.report.utilisation);
        let attach = &report.attach_latency_ms;
        let reading = &report.reading_attach_latency_ms;
        let mut row = format!(
            "{},{:.2},{:.2},{:.2},{},{},{},{},{},{:.0}",
            self.rate.as_per_s(),
            self.offered_per_s,
            self.attached_per_s,
            self.transactions_per_s,
            u8::from(self.saturated.is_some()),
            cell(attach.p50),
            cell(attach.p99),
            cell(reading.p50),
            cell(reading.p99),
            report.bytes_per_gateway_s,
        );
        for share in [
            used.core_loop,
            used.workers,
            used.verify,
            used.sign,
            used.seal,
            used.net,
            used.cpu,
            used.disk,
            used.uplink,
            used.downlink,
            used.link,
            used.memory,
        ] {
            // Writing to a string does not fail.
            let _ = write!(row, ",{share:.4}");
        }
        let _ = writeln!(row, ",\"{}\"", self.fullest.0);
        row
    }
}

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
        let points = |of: fn(&Step) -> Option<f64>| {
            self.steps
                .iter()
                .filter_map(move |step| of(step).map(|ms| (step.offered_per_s, ms)))
                .collect::<Vec<_>>()
        };
        let p50 = points(|step| step.report.reading_attach_latency_ms.p50);
        let p99 = points(|step| step.report.reading_attach_latency_ms.p99);
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
        writeln!(f, "    readings a second        transactions   reading → last gateway   kB/s a")?;
        writeln!(f, "    offered     attached     a second           p50 ms      p99 ms   gateway  fullest")?;
        for step in &self.steps {
            let ms = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0}"));
            let latency = &step.report.reading_attach_latency_ms;
            let mark = if step.saturated.is_some() { "*" } else { " " };
            writeln!(
                f,
                "  {mark}{:>10.1} {:>12.1} {:>13.1} {:>15} {:>11} {:>9.1}  {} {:.0} %",
                step.offered_per_s,
                step.attached_per_s,
                step.transactions_per_s,
                ms(latency.p50),
                ms(latency.p99),
                step.report.bytes_per_gateway_s / 1e3,
                step.fullest.0,
                step.fullest.1 * 100.0
            )?;
        }
        if let Some(step) = self.steps.iter().find(|step| Some(step.rate) == self.too_much)
            && let Some(why) = &step.saturated
        {
            writeln!(f, "  * saturated; the lightest of these: {why}")?;
        }
        let carried = self.steps.iter().find(|step| Some(step.rate) == self.carried);
        match carried {
            Some(step) => writeln!(
                f,
                "  carries   {:.0} readings a second ({} of each gateway)",
                step.offered_per_s, step.rate
            )?,
            None => writeln!(f, "  carries   not even the lightest load that was tried")?,
        }
        write!(f, "  limited by {}", self.bottleneck)
    }
}
