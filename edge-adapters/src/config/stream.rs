//! The keys that a stream has whatever the protocol.

use std::ops::RangeInclusive;
use std::time::Duration;

use selvedge_core::limits::TEXT_FIELD_BYTES_MAX;
use selvedge_core::stream::{Attestation, Decimal, Descriptor};

use super::keys::{Keys, Named, quoted};
use super::{Scalar, bounds, text};
use crate::adapter::{Bounds, Deadband, Head, Report, StreamSpec, attempts_of};

/// Shortest and longest `min_interval` and `max_silence`.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);

/// What stands in a `[[device.stream]]` entry besides what only its protocol knows.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    pub(crate) name: String,
    unit: String,
    scale: Decimal,
    offset: Decimal,
    urgent: bool,
    report: Report,
    /// Raw values that mean "not available".
    pub(crate) not_available: Vec<Scalar>,
    write: Option<Bounds>,
}

impl Common {
    /// Reads them. `write` takes the keys that the protocol has in the table `write`, if there is one, and must leave the
    /// rest to [`Keys::finish`], which is called here.
    pub(crate) fn read(keys: &mut Keys<'_>, write: impl FnOnce(&mut Keys<'_>)) -> Self {
        let name = keys.required("name", "a name of your choice, which stands in proofs");
        let bounds = keys.table("write").map(|mut table| {
            let bounds = bounds::read(&mut table);
            write(&mut table);
            table.finish();
            bounds
        });
        let scale = keys.decimal("scale", Decimal::ONE);
        if scale == Decimal::ZERO {
            keys.wrong("scale", "0", "a decimal number other than 0");
        }
        Self {
            name,
            unit: unit(keys),
            scale,
            offset: keys.decimal("offset", Decimal::ZERO),
            urgent: keys.flag("urgent", false),
            report: report(keys),
            not_available: keys.scalars("not_available"),
            write: bounds,
        }
    }

    /// May it be written?
    pub(crate) const fn is_written(&self) -> bool {
        self.write.is_some()
    }

    /// The stream, as the node knows it. `address` and `source_type` say where and what the value is at the device.
    pub(crate) fn spec(
        &self,
        keys: &Keys<'_>,
        head: &Head,
        address: String,
        source_type: String,
    ) -> StreamSpec {
        self.spec_named(keys, head, self.name.clone(), address, source_type)
    }

    /// The same under another name, where one entry stands for several streams.
    pub(crate) fn spec_named(
        &self,
        keys: &Keys<'_>,
        head: &Head,
        name: String,
        address: String,
        source_type: String,
    ) -> StreamSpec {
        keys.take_name(Named::Stream, &name);
        if self.is_written() {
            keys.take_name(Named::Stream, &attempts_of(&name));
        }
        if address.len() > TEXT_FIELD_BYTES_MAX {
            let expected = format!(
                "a place on the device of at most {TEXT_FIELD_BYTES_MAX} bytes, its address included"
            );
            keys.wrong("name", format!("{} bytes", address.len()), expected);
        }
        let descriptor = Descriptor {
            name,
            device: head.device.clone(),
            address,
            source_type,
            unit: self.unit.clone(),
            scale: self.scale,
            offset: self.offset,
            attestation: Attestation::Gateway,
        };
        StreamSpec {
            descriptor,
            urgent: self.urgent,
            report: self.report,
            write: self.write.clone(),
            words: None,
        }
    }
}

fn unit(keys: &mut Keys<'_>) -> String {
    let unit = keys.text("unit").unwrap_or_default();
    if unit.len() > TEXT_FIELD_BYTES_MAX || !unit.bytes().all(|b| b.is_ascii_graphic()) {
        let expected = "a UCUM unit of printable ASCII without spaces: Cel for °C, um for µm, L/min, m3/h, %";
        keys.wrong("unit", quoted(&unit), expected);
    }
    unit
}

fn report(keys: &mut Keys<'_>) -> Report {
    let expected = "a decimal number, 0 or more, in the unit of the scaled value";
    let absolute = band(keys, "deadband", expected).map(Deadband::Absolute);
    let expected = "a decimal number, 0 or more: percent of the value delivered last";
    let percent = band(keys, "deadband_percent", expected).map(Deadband::Percent);
    if absolute.is_some() && percent.is_some() {
        keys.wrong("deadband_percent", "it beside `deadband`", "one of the two");
    }
    let min_interval = keys.optional_duration("min_interval", &INTERVALS).unwrap_or_default();
    let max_silence = keys.optional_duration("max_silence", &INTERVALS);
    if max_silence.is_some_and(|most| most <= min_interval) {
        keys.wrong("max_silence", "no more than `min_interval`", "a longer time, or none of the two");
    }
    Report { deadband: absolute.or(percent), min_interval, max_silence }
}

fn band(keys: &mut Keys<'_>, key: &'static str, expected: &str) -> Option<f64> {
    let scalar = keys.scalar(key)?;
    match text::decimal(&scalar).map(Decimal::to_f64) {
        Ok(band) if band >= 0.0 => Some(band),
        _ => {
            keys.wrong(key, scalar, expected);
            None
        }
    }
}
