//! How long characters take on a serial line (Modbus over Serial Line V1.02, section 2.5.1.1). Pure.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Baud rates that a configuration may say.
pub const BAUD: RangeInclusive<u32> = 300..=4_000_000;
/// Above this rate the silence between frames is [`FAST_FRAME_GAP`], as the specification recommends: timers get too
/// fine otherwise.
const FAST_ABOVE_BAUD: u32 = 19_200;
const FAST_FRAME_GAP: Duration = Duration::from_micros(1_750);

/// The parity bit of a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Parity {
    /// None; the specification then wants two stop bits, and most devices want one.
    None,
    /// Even: what the specification wants.
    Even,
    /// Odd.
    Odd,
}

/// How characters travel on a serial line. All devices on it agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Characters {
    /// Bits a second.
    pub baud: u32,
    /// Data bits, 7 or 8. RTU needs 8; there are lines with 7 for other protocols only.
    pub data_bits: u8,
    /// Parity.
    pub parity: Parity,
    /// Stop bits, 1 or 2.
    pub stop_bits: u8,
}

impl Default for Characters {
    /// What the specification requires of each device: 19200 baud, even parity.
    fn default() -> Self {
        Self { baud: 19_200, data_bits: 8, parity: Parity::Even, stop_bits: 1 }
    }
}

impl Characters {
    /// Bits of a character with its start bit.
    pub const fn bits(self) -> u32 {
        let parity = match self.parity {
            Parity::None => 0,
            Parity::Even | Parity::Odd => 1,
        };
        1 + self.data_bits as u32 + parity + self.stop_bits as u32
    }

    /// So many characters take this long.
    pub fn take(self, characters: u32) -> Duration {
        let bits = u64::from(self.bits()) * u64::from(characters);
        Duration::from_nanos(bits * 1_000_000_000 / u64::from(self.baud.max(1)))
    }

    /// The silence that separates two frames: 3.5 characters, 1.75 ms above 19200 baud.
    pub fn frame_gap(self) -> Duration {
        if self.baud > FAST_ABOVE_BAUD { FAST_FRAME_GAP } else { self.take(7) / 2 }
    }
}

/// As people write it: `19200 8E1`.
impl fmt::Display for Characters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parity = match self.parity {
            Parity::None => 'N',
            Parity::Even => 'E',
            Parity::Odd => 'O',
        };
        write!(f, "{} {}{parity}{}", self.baud, self.data_bits, self.stop_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_is_three_and_a_half_characters_and_never_less_than_at_19200_baud_says() {
        let at = |baud| Characters { baud, ..Characters::default() };
        assert_eq!(at(9_600).bits(), 11);
        // 3.5 × 11 bits / 9600 a second.
        assert_eq!(at(9_600).frame_gap().as_micros(), 4_010);
        assert_eq!(at(19_200).frame_gap().as_micros(), 2_005);
        assert_eq!(at(38_400).frame_gap(), Duration::from_micros(1_750));
        assert_eq!(at(1_200).take(256).as_millis(), 2_346);
        assert_eq!(Characters::default().to_string(), "19200 8E1");
        assert_eq!(Characters { parity: Parity::None, stop_bits: 2, ..at(9_600) }.to_string(), "9600 8N2");
    }
}
