//! The plant on a Modbus TCP socket, and the configuration of a gateway that polls it.
//!
//! | address | type | what |
//! |---|---|---|
//! | input 0, 1 | f32 | level of the tank, L |
//! | input 2 | u16 | flow through the valve, 0.01 L/min |
//! | input 3 | u16 | bottle under the valve, mL |
//! | input 4 | i16 | temperature in the tank, 0.1 °C |
//! | input 5 | u16 | speed of the conveyor, mm/s |
//! | input 6, 7 | u32 | bottles filled |
//! | coil 0, 1 | bit | pump on, valve open |
//! | holding 0, 1, 2 | u16 | set points: fill of a bottle, mL; pump on below and off above, 0.1 L |

use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_adapters::modbus::Table;
use edge_adapters::modbus::server::{self, Bank};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::plant::{FILL_ML, Instruments, PUMP_OFF_ABOVE_DL, PUMP_ON_BELOW_DL, Plant};

/// The plant's device, as its configuration names it.
pub const DEVICE: &str = "filler-plc";
/// The stream of the tank's level.
pub const LEVEL: &str = "filler/tank/level";
/// Registers and bits that the plant has.
const BANK_SIZE: usize = 16;
/// The registers change this often.
const TURN_EVERY: Duration = Duration::from_millis(20);

/// A plant that runs and can be polled.
#[derive(Debug)]
pub struct RunningPlant {
    address: SocketAddr,
    bank: Arc<Bank>,
    stop: CancellationToken,
    turning: JoinHandle<Plant>,
    serving: JoinHandle<io::Result<()>>,
}

impl RunningPlant {
    /// Starts it on a free port of this machine.
    ///
    /// # Errors
    /// When the system gives no port.
    pub async fn start(seed: &[u8; 32]) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let plant = Plant::new(seed);
        let bank = Arc::new(Bank::new(BANK_SIZE));
        bank.set_registers(Table::Holding, 0, &[FILL_ML, PUMP_ON_BELOW_DL, PUMP_OFF_ABOVE_DL]);
        // Before anybody can connect: an answer of zeros would be a reading.
        show(&bank, &plant.instruments());
        let stop = CancellationToken::new();
        let turning = tokio::spawn(turn(plant, Arc::clone(&bank), stop.clone()));
        let serving = tokio::spawn(server::serve(listener, Arc::clone(&bank), stop.clone()));
        Ok(Self { address, bank, stop, turning, serving })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Modbus requests that it answered.
    pub fn requests(&self) -> u64 {
        self.bank.requests()
    }

    /// Stops it, and gives back the plant as it then is.
    ///
    /// # Errors
    /// When it had stopped by itself.
    pub async fn stop(self) -> anyhow::Result<Plant> {
        self.stop.cancel();
        self.serving.await??;
        Ok(self.turning.await?)
    }
}

/// Lets the plant run in real time.
async fn turn(mut plant: Plant, bank: Arc<Bank>, stop: CancellationToken) -> Plant {
    let mut ticks = tokio::time::interval(TURN_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut then = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => return plant,
            _ = ticks.tick() => {}
        }
        let now = Instant::now();
        plant.step(now - then);
        then = now;
        show(&bank, &plant.instruments());
    }
}

fn show(bank: &Bank, shown: &Instruments) {
    bank.set_registers(Table::Input, 0, &input_registers(shown));
    bank.set_bit(Table::Coil, 0, shown.pump_on);
    bank.set_bit(Table::Coil, 1, shown.valve_open);
}

fn input_registers(shown: &Instruments) -> [u16; 8] {
    let level = shown.level_l.to_bits();
    [
        (level >> 16) as u16,
        level as u16,
        (shown.flow_l_min * 100.0).round() as u16,
        shown.bottle_ml.round() as u16,
        // A negative number travels as its two's complement.
        (shown.temperature_cel * 10.0).round() as i16 as u16,
        shown.conveyor_mm_s.round() as u16,
        (shown.bottles >> 16) as u16,
        shown.bottles as u16,
    ]
}

/// The configuration of the gateway: an ordinary one, such as `init` writes, with the plant as its device.
pub fn configuration(address: SocketAddr) -> String {
    const STREAMS: [(&str, &str, &str, &str, &str); 11] = [
        (LEVEL, "input:0", "f32", "1", "L"),
        ("filler/flow", "input:2", "u16", "0.01", "L/min"),
        ("filler/bottle/fill", "input:3", "u16", "1", "mL"),
        ("filler/tank/temperature", "input:4", "i16", "0.1", "Cel"),
        ("conveyor/speed", "input:5", "u16", "1", "mm/s"),
        ("conveyor/bottles", "input:6", "u32", "1", ""),
        ("filler/pump/on", "coil:0", "bool", "1", ""),
        ("filler/valve/open", "coil:1", "bool", "1", ""),
        ("filler/bottle/set-point", "holding:0", "u16", "1", "mL"),
        ("filler/pump/on-below", "holding:1", "u16", "0.1", "L"),
        ("filler/pump/off-above", "holding:2", "u16", "0.1", "L"),
    ];
    let mut text = format!(
        r#"# The gateway of `selvedge demo`: an ordinary configuration. `selvedge init` writes one with a comment on every key.

[batch]
# Ten seconds by default; a demonstration has less patience.
age = "2s"

[journal]
sync_within = "200ms"

# The simulated plant. It ran while the demo ran, so by now nothing answers there.
[[device]]
name = "{DEVICE}"
protocol = "modbus-tcp"
address = "{address}"
poll_interval = "250ms"
timeout = "1s"
"#
    );
    for (name, register, kind, scale, unit) in STREAMS {
        text.push_str("\n[[device.stream]]\n");
        let keys = [("name", name), ("register", register), ("type", kind), ("unit", unit)];
        // Writing to a string cannot fail.
        for (key, value) in keys.into_iter().filter(|(_, value)| !value.is_empty()) {
            let _ = writeln!(text, "{key} = \"{value}\"");
        }
        if scale != "1" {
            let _ = writeln!(text, "scale = {scale}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use edge_adapters::{Clock, SystemClock, Trial, TrialEvent};
    use selvedge_core::reading::{Quality, Value};

    use super::*;
    use crate::config;

    #[test]
    fn registers_hold_what_the_instruments_show() {
        let mut plant = Plant::new(&[3; 32]);
        plant.step(Duration::from_secs(7));
        let shown = Instruments { temperature_cel: -0.7, bottles: 70_000, ..plant.instruments() };
        let registers = input_registers(&shown);
        let level = f32::from_bits(u32::from(registers[0]) << 16 | u32::from(registers[1]));
        assert_eq!(level.to_bits(), shown.level_l.to_bits());
        assert_eq!(registers[4] as i16, -7);
        assert_eq!(registers[6..], [1, 4_464]);
    }

    #[test]
    fn the_configuration_is_valid() {
        let settings = config::parse(&configuration("127.0.0.1:502".parse().unwrap())).expect("valid");
        assert_eq!(settings.batch.age_max_us, 2_000_000);
        let [device] = settings.devices.as_slice() else { panic!("one device") };
        assert_eq!(device.device(), DEVICE);
        assert_eq!(device.streams().len(), 11);
        assert_eq!(device.streams()[0].descriptor.name, LEVEL);
    }

    #[tokio::test]
    async fn an_adapter_reads_the_running_plant() {
        let plant = RunningPlant::start(&[5; 32]).await.unwrap();
        let settings = config::parse(&configuration(plant.address())).expect("valid");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut trial = Trial::start(Arc::clone(&settings.devices[0]), Duration::from_secs(30), &clock);
        let mut seen = BTreeMap::new();
        while seen.len() < 11 {
            if let TrialEvent::Reading(reading) = trial.next().await.expect("all streams within 30 s") {
                assert_eq!(reading.quality, Quality::Good, "{reading:?}");
                seen.insert(reading.stream.clone(), reading.raw);
            }
        }
        let Value::Float(level_l) = seen[LEVEL] else { panic!("{seen:?}") };
        assert!((38.0..42.0).contains(&level_l), "{level_l}");
        assert_eq!(seen["filler/bottle/set-point"], Value::Unsigned(u64::from(FILL_ML)));
        assert_eq!(seen["filler/pump/on-below"], Value::Unsigned(u64::from(PUMP_ON_BELOW_DL)));
        assert!(plant.requests() >= 3);
        drop(trial);
        assert!(plant.stop().await.unwrap().accounts().is_balanced());
    }
}
