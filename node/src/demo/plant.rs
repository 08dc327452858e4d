//! A bottling plant: a pump feeds a tank, a valve lets it run into the bottle below, a conveyor takes the full
//! bottle away and brings an empty one. A controller scans instruments that are a little off, and decides on what
//! they say, not on what is.
//!
//! No IO and no clock: time is an argument, and chance is a seed. Volumes are whole microlitres, so that what the
//! pump gave is exactly what is in tank and bottles ([`Accounts::is_balanced`]).

#[cfg(test)]
mod tests;

use std::time::Duration;

use selvedge_core::random::Random;

/// The controller looks at its instruments and acts this often; the plant is simulated in the same steps.
pub const SCAN: Duration = Duration::from_millis(10);
const SCAN_S: f64 = 0.01;

/// The tank holds so much, in litres.
pub const TANK_CAPACITY_L: u16 = 50;
/// Below this level the controller starts the pump, in tenths of a litre.
pub const PUMP_ON_BELOW_DL: u16 = 390;
/// Above this level it stops the pump, in tenths of a litre.
pub const PUMP_OFF_ABOVE_DL: u16 = 410;
/// A bottle is to hold so much, in millilitres.
pub const FILL_ML: u16 = 500;

const UL_PER_L: f64 = 1e6;
const UL_PER_ML: f64 = 1e3;
const TANK_CAPACITY_UL: u64 = TANK_CAPACITY_L as u64 * 1_000_000;
const TANK_AT_START_UL: u64 = 40_000_000;
const PUMP_L_MIN: f64 = 45.0;
/// Flow through the open valve at [`VALVE_LEVEL_L`]; it grows with the root of the level (Torricelli).
const VALVE_L_MIN: f64 = 30.0;
const VALVE_LEVEL_L: f64 = 40.0;
/// The valve takes this long from shut to open, and back.
const VALVE_TRAVEL_S: f64 = 0.12;
/// What still runs while the valve closes: the controller closes it so much earlier.
const LEAD_ML: f64 = 30.0;
/// From one bottle to the next.
const PITCH_MM: f64 = 100.0;
const CONVEYOR_MM_S: f64 = 150.0;
const CONVEYOR_MM_S2: f64 = 400.0;
/// This close to its place a bottle has arrived.
const ARRIVED_MM: f64 = 0.5;
const SUPPLY_CEL: f64 = 6.0;
const HALL_CEL: f64 = 22.0;
/// The tank comes closer to the hall's temperature by a factor e in this time.
const WARMING_S: f64 = 600.0;

/// What the instruments show, as the controller's registers hold it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Instruments {
    /// Level of the tank in litres, to a hundredth.
    pub level_l: f32,
    /// Temperature in the tank in degrees Celsius.
    pub temperature_cel: f64,
    /// Flow through the valve in litres a minute.
    pub flow_l_min: f64,
    /// What the bottle under the valve holds, by weight, in millilitres.
    pub bottle_ml: f64,
    /// Speed of the conveyor in millimetres a second.
    pub conveyor_mm_s: f64,
    /// Does the pump run?
    pub pump_on: bool,
    /// Is the valve told to be open?
    pub valve_open: bool,
    /// Bottles filled and taken away.
    pub bottles: u32,
}

/// Where all the liquid is, in microlitres.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accounts {
    /// In the tank when the plant started.
    pub at_start: u64,
    /// Pumped into the tank since.
    pub pumped: u64,
    /// In the tank.
    pub tank: u64,
    /// Run out of the tank through the valve.
    pub poured: u64,
    /// In the bottle under the valve.
    pub bottle: u64,
    /// In the bottles that were taken away.
    pub shipped: u64,
}

impl Accounts {
    /// Nothing came from nowhere, and nothing is gone.
    pub const fn is_balanced(&self) -> bool {
        self.at_start + self.pumped == self.tank + self.poured && self.poured == self.bottle + self.shipped
    }
}

/// What goes on under the valve.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Filling,
    /// The valve was told to close, and has not done so yet.
    Closing,
    /// The next bottle is so far away.
    Moving {
        left_mm: f64,
    },
}

/// The plant.
#[derive(Debug, Clone)]
pub struct Plant {
    chance: Random,
    accounts: Accounts,
    /// Time that was handed in and is less than a scan.
    rest: Duration,
    phase: Phase,
    /// 0 shut, 1 open.
    valve: f64,
    temperature_cel: f64,
    flow_l_min: f64,
    shown: Instruments,
}

impl Plant {
    /// A plant with a tank at 40 litres and an empty bottle under the valve. `seed` decides how its instruments are off.
    pub fn new(seed: &[u8; 32]) -> Self {
        let accounts = Accounts {
            at_start: TANK_AT_START_UL,
            pumped: 0,
            tank: TANK_AT_START_UL,
            poured: 0,
            bottle: 0,
            shipped: 0,
        };
        let shown = Instruments {
            level_l: 0.0,
            temperature_cel: 0.0,
            flow_l_min: 0.0,
            bottle_ml: 0.0,
            conveyor_mm_s: 0.0,
            pump_on: false,
            valve_open: true,
            bottles: 0,
        };
        let mut plant = Self {
            chance: Random::new(seed),
            accounts,
            rest: Duration::ZERO,
            phase: Phase::Filling,
            valve: 0.0,
            temperature_cel: 9.0,
            flow_l_min: 0.0,
            shown,
        };
        plant.sense();
        plant
    }

    /// What the instruments show now.
    pub const fn instruments(&self) -> Instruments {
        self.shown
    }

    /// Where all the liquid is now.
    pub const fn accounts(&self) -> Accounts {
        self.accounts
    }

    /// Lets time pass. Only the sum counts, not how it is cut into calls.
    pub fn step(&mut self, by: Duration) {
        self.rest += by;
        while let Some(rest) = self.rest.checked_sub(SCAN) {
            self.rest = rest;
            self.control();
            self.pump();
            self.pour();
            self.convey();
            self.warm();
            self.sense();
        }
    }

    /// The controller: it knows only what the instruments show.
    fn control(&mut self) {
        let shown = &mut self.shown;
        if shown.level_l < f32::from(PUMP_ON_BELOW_DL) / 10.0 {
            shown.pump_on = true;
        } else if shown.level_l > f32::from(PUMP_OFF_ABOVE_DL) / 10.0 {
            shown.pump_on = false;
        }
        match self.phase {
            Phase::Filling if shown.bottle_ml >= f64::from(FILL_ML) - LEAD_ML => {
                shown.valve_open = false;
                self.phase = Phase::Closing;
            }
            Phase::Closing if self.valve <= 0.0 => self.phase = Phase::Moving { left_mm: PITCH_MM },
            Phase::Moving { left_mm } if left_mm <= ARRIVED_MM => {
                shown.bottles = shown.bottles.wrapping_add(1);
                shown.conveyor_mm_s = 0.0;
                shown.valve_open = true;
                self.accounts.shipped += std::mem::take(&mut self.accounts.bottle);
                self.phase = Phase::Filling;
            }
            Phase::Filling | Phase::Closing | Phase::Moving { .. } => {}
        }
    }

    fn pump(&mut self) {
        if !self.shown.pump_on {
            return;
        }
        let room = TANK_CAPACITY_UL - self.accounts.tank;
        let volume = ul_per_scan(PUMP_L_MIN).min(room);
        let (old, new) = (self.accounts.tank as f64, volume as f64);
        if volume > 0 {
            self.temperature_cel = (self.temperature_cel * old + SUPPLY_CEL * new) / (old + new);
        }
        self.accounts.tank += volume;
        self.accounts.pumped += volume;
    }

    fn pour(&mut self) {
        let travel = SCAN_S / VALVE_TRAVEL_S;
        self.valve = (self.valve + if self.shown.valve_open { travel } else { -travel }).clamp(0.0, 1.0);
        let level_l = self.accounts.tank as f64 / UL_PER_L;
        let flow_l_min = VALVE_L_MIN * (level_l / VALVE_LEVEL_L).sqrt() * self.valve;
        let volume = ul_per_scan(flow_l_min).min(self.accounts.tank);
        self.accounts.tank -= volume;
        self.accounts.poured += volume;
        self.accounts.bottle += volume;
        self.flow_l_min = volume as f64 / UL_PER_L * 60.0 / SCAN_S;
    }

    fn convey(&mut self) {
        if let Phase::Moving { left_mm } = &mut self.phase {
            // As fast as it still can stop in time.
            let stoppable = (2.0 * CONVEYOR_MM_S2 * *left_mm).sqrt();
            let speed =
                (self.shown.conveyor_mm_s + CONVEYOR_MM_S2 * SCAN_S).min(CONVEYOR_MM_S).min(stoppable);
            *left_mm -= speed * SCAN_S;
            self.shown.conveyor_mm_s = speed;
        }
    }

    fn warm(&mut self) {
        self.temperature_cel += (HALL_CEL - self.temperature_cel) * SCAN_S / WARMING_S;
    }

    fn sense(&mut self) {
        let level_l = self.accounts.tank as f64 / UL_PER_L + 0.02 * self.noise();
        self.shown.level_l = ((level_l * 100.0).round() / 100.0) as f32;
        self.shown.temperature_cel = self.temperature_cel + 0.05 * self.noise();
        self.shown.bottle_ml = (self.accounts.bottle as f64 / UL_PER_ML + 0.5 * self.noise()).max(0.0);
        // A flow meter cuts off creeping flows, so a shut valve shows nothing.
        let off = 0.05 * self.noise();
        self.shown.flow_l_min = if self.flow_l_min < 0.5 { 0.0 } else { self.flow_l_min + off };
    }

    /// About normal, with variance one, never beyond ±3.5.
    fn noise(&mut self) -> f64 {
        let sum: f64 = (0..4).map(|_| self.chance.unit()).sum();
        (sum - 2.0) * 3.0_f64.sqrt()
    }
}

fn ul_per_scan(flow_l_min: f64) -> u64 {
    (flow_l_min * UL_PER_L / 60.0 * SCAN_S).round() as u64
}
