//! A device read without a node.

use std::sync::Arc;
use std::time::Duration;

use selvedge_core::reading::{Quality, Value};
use tokio_util::sync::CancellationToken;

use super::support::{HeldTime, advance, listen, reserve};
use crate::adapter::Source;
use crate::clock::{Clock, SetClock};
use crate::config::{ConfigError, sources};
use crate::health::DeviceState;
use crate::mapping::Scaled;
use crate::modbus::Table;
use crate::modbus::server::{Bank, serve};
use crate::trial::{Trial, TrialEvent};

fn device(address: impl std::fmt::Display) -> Result<Arc<dyn Source>, Vec<ConfigError>> {
    sources(&format!(
        "[[device]]\nname = \"plc\"\nprotocol = \"modbus-tcp\"\naddress = \"{address}\"\n\
         [[device.stream]]\nname = \"t\"\nregister = \"holding:4\"\ntype = \"i16\"\nscale = 0.1\nunit = \"Cel\"\n"
    ))
    .map(|mut sources| sources.remove(0))
}

#[tokio::test(start_paused = true)]
async fn a_trial_says_that_the_device_answers_what_it_reads_and_when_it_is_over() {
    let (listener, address) = listen().await;
    let bank = Arc::new(Bank::new(10));
    bank.set_registers(Table::Holding, 4, &[231]);
    tokio::spawn(serve(listener, bank, CancellationToken::new()));
    let _time = HeldTime::new();
    let clock: Arc<dyn Clock> = Arc::new(SetClock::at(77));
    let mut trial = Trial::start(device(address).unwrap(), Duration::from_secs(5), &clock);
    let mut events = vec![trial.next().await.unwrap(), trial.next().await.unwrap()];
    events.sort_by_key(|event| matches!(event, TrialEvent::Reading(_)));
    let TrialEvent::Device(device) = &events[0] else { panic!("{events:?}") };
    assert_eq!(device.state, DeviceState::Up);
    let TrialEvent::Reading(reading) = &events[1] else { panic!("{events:?}") };
    assert_eq!((reading.stream.as_str(), reading.unit.as_str()), ("t", "Cel"));
    assert_eq!((&reading.raw, &reading.value), (&Value::Int(231), &Scaled::Number("23.1".into())));
    assert_eq!((reading.quality, reading.source_time_ns, reading.receive_time_ns), (Quality::Good, 77, 77));
    advance(1_000).await;
    assert!(matches!(trial.next().await, Some(TrialEvent::Reading(_))), "the next poll");
    advance(4_000).await;
    assert_eq!(trial.next().await, None, "five seconds are over");
}

#[tokio::test(start_paused = true)]
async fn a_trial_of_a_dead_device_says_why() {
    let off = reserve("127.0.0.1:0".parse().unwrap());
    let clock: Arc<dyn Clock> = Arc::new(SetClock::at(77));
    let _time = HeldTime::new();
    let mut trial = Trial::start(device(off.local_addr().unwrap()).unwrap(), Duration::from_secs(5), &clock);
    let Some(TrialEvent::Device(device)) = trial.next().await else { panic!("an event of the device") };
    assert_eq!(device.state, DeviceState::Down);
    assert!(device.error.unwrap().contains("no connection"));
    advance(5_000).await;
    assert_eq!(trial.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_trial_of_a_wrong_configuration_says_what_is_wrong() {
    let errors = device("nowhere").unwrap_err();
    assert_eq!(errors[0].key, "address");
}
