//! What an adapter brings.

use selvedge_core::border::NewReading;

/// Readings in the order in which they came.
///
/// Some may be of the past: values that a source kept while it could not speak, and says when it can again, maybe between
/// what it says of the present (Sparkplug B 3.0, `is_historical`). They are recorded, all of them, under their old times.
/// But none of them is what its stream says now: none is shown as its last value, becomes stale when the link dies, ends
/// that it is stale, or is what a deadband and an interval are measured from.
#[derive(Debug, Default)]
pub struct Readings {
    all: Vec<NewReading>,
    /// Which of them are of the past, ascending.
    past: Vec<usize>,
}

impl Readings {
    /// One of the present.
    pub fn push(&mut self, reading: NewReading) {
        self.all.push(reading);
    }

    /// One of the past.
    pub fn push_past(&mut self, reading: NewReading) {
        self.past.push(self.all.len());
        self.all.push(reading);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them, and the places of those of the past, ascending.
    pub(super) fn into_parts(self) -> (Vec<NewReading>, Vec<usize>) {
        (self.all, self.past)
    }
}

impl From<Vec<NewReading>> for Readings {
    fn from(all: Vec<NewReading>) -> Self {
        Self { all, past: Vec::new() }
    }
}
