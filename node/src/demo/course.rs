//! While the gateways run: polling, the cable that is cut, the wait at the end.

use std::time::{Duration, Instant};

use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::compare::Agreement;
use super::fleet::{Fleet, names_of};
use super::frame::{Moment, Phase};
use super::{Audience, Cut, Options};
use crate::answers::times::plural;

/// The picture is drawn anew this often.
const FRAME_EVERY: Duration = Duration::from_millis(250);
/// All is to be at rest within this time of the last reading ...
const REST_WITHIN: Duration = Duration::from_secs(30);
/// ... but with a cable out that cannot be, and the others only need what they have sent one another.
const REST_WITHIN_CUT: Duration = Duration::from_secs(3);

/// How the run went.
#[derive(Debug)]
pub(super) struct Ran {
    /// For how long the plant was polled.
    pub(super) polled: Duration,
    pub(super) bytes_sent: u64,
    /// The gateway whose cable was out at the end.
    pub(super) cut: Option<usize>,
}

/// Polls, waits until all is at rest, and stops the gateways in order, whatever came between.
pub(super) async fn run(
    mut fleet: Fleet,
    options: &Options,
    audience: &mut dyn Audience,
    stop: &CancellationToken,
) -> anyhow::Result<Ran> {
    let started = Instant::now();
    let mut ticks = interval(FRAME_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut outcome = poll(&mut fleet, options, started, &mut ticks, audience, stop).await;
    let polled = started.elapsed();
    if options.cut.is_some_and(|cut| cut.heal_at.is_some()) {
        // It may have been ended early: what was to be put back is put back.
        fleet.heal();
    }
    if outcome.is_ok() {
        outcome = settle(&mut fleet, options, started, &mut ticks, audience).await;
    }
    let (bytes_sent, cut) = (fleet.bytes_sent(), fleet.is_cut());
    fleet.stop().await?;
    outcome.map(|()| Ran { polled, bytes_sent, cut })
}

/// Shows the gateways until the time is over, `stop` is cancelled, or one of them halts: why, `Fleet::stop` says.
async fn poll(
    fleet: &mut Fleet,
    options: &Options,
    started: Instant,
    ticks: &mut Interval,
    audience: &mut dyn Audience,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let over = tokio::time::sleep(options.run_for);
    tokio::pin!(over);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = &mut over => return Ok(()),
            _ = ticks.tick() => {}
        }
        if fleet.has_halted() {
            return Ok(());
        }
        let elapsed = started.elapsed();
        turn_cables(fleet, options.cut, elapsed);
        let moment = moment(fleet, options, elapsed, Phase::Polling);
        audience.frame(&fleet.look(moment).await?);
    }
}

/// Cuts and mends what is due.
fn turn_cables(fleet: &mut Fleet, cut: Option<Cut>, elapsed: Duration) {
    let Some(Cut { gateway, at, heal_at }) = cut else { return };
    let is_healed = heal_at.is_some_and(|heal_at| elapsed >= heal_at);
    if is_healed {
        fleet.heal();
    } else if elapsed >= at && fleet.is_cut().is_none() {
        fleet.cut(gateway);
    }
}

fn moment(fleet: &Fleet, options: &Options, elapsed: Duration, phase: Phase) -> Moment {
    let cable = fleet.is_cut().zip(options.cut).map(|(gateway, cut)| {
        let until = cut.heal_at.map_or_else(String::new, |at| format!(" to {} s", at.as_secs_f64()));
        format!(
            "that of {:?}, from {} s{until}; {} lost",
            names_of(gateway).gateway,
            cut.at.as_secs_f64(),
            plural(fleet.packets_lost(), "packet")
        )
    });
    Moment { elapsed, run_for: options.run_for, phase, cable }
}

/// No more readings; waits, not for ever, until all readings are in transactions, all of these witnessed by all, and all
/// ledgers the same.
async fn settle(
    fleet: &mut Fleet,
    options: &Options,
    started: Instant,
    ticks: &mut Interval,
    audience: &mut dyn Audience,
) -> anyhow::Result<()> {
    fleet.stop_readings().await;
    if options.gateways == 1 {
        return Ok(());
    }
    let end = Instant::now() + if fleet.is_cut().is_some() { REST_WITHIN_CUT } else { REST_WITHIN };
    let mut rested: Option<Agreement> = None;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let moment = moment(fleet, options, started.elapsed(), Phase::Settling { left });
        let frame = fleet.look(moment).await?;
        audience.frame(&frame);
        let agreement = &frame.agreement;
        let rests = frame.is_drained() && agreement.witnessed_all() && agreement.ledgers_equal();
        // Twice the same: else an approval that was just being signed would be in one folder only.
        if left.is_zero() || fleet.has_halted() || (rests && rested.as_ref() == Some(agreement)) {
            return Ok(());
        }
        rested = rests.then_some(frame.agreement);
        ticks.tick().await;
    }
}
