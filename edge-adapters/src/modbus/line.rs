//! A line: one connection or serial port, and the units that take turns on it.
//!
//! Units that share a line share its one connection and ask one after the other, request by request, in the order in
//! which they came. What a dead unit may take of it: see [`super::turns`].
//!
//! # A late answer never becomes another register's value
//!
//! After anything but a complete and fitting answer (a time-out, a caller that was dropped halfway, a mismatch) the
//! line may still carry the answer to what nobody waits for any more.
//!
//! - TCP and TLS: the connection is closed and never used again, so a late answer has nowhere to arrive. The
//!   transaction id of Modbus TCP does not replace this. Gateways in front of serial lines exist that put the id of
//!   the newest request on whatever comes from the line, and with an honest server every answer after a late one would
//!   be late by one, for ever.
//! - RTU has no transaction id, and the next connection would hear the same line. So it is listened to, and what comes
//!   thrown away, until it was silent for the response time-out (at least 3.5 characters). Then a connection to a device
//!   server is made anew. A serial port is opened anew only after [`REOPEN_AFTER`] failures in a row or when it broke:
//!   closing it drops DTR and RTS, which resets some devices and takes the power from some converters.
//! - RTU besides: bytes that lie there before anything was asked, and an answer with a whole frame too much, are
//!   treated as a mismatch.
//!
//! What nobody can find out on RTU: an answer that comes later than two time-outs, and has the length of the one that is
//! waited for then. The time-out must be longer than half of the longest that a device ever takes.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_modbus::Slave;
use tokio_modbus::client::{Client as _, Context as Client, rtu, tcp};
use tokio_modbus::slave::SlaveContext as _;

use super::ask::{Answer, Ask, SHORTEST_FRAME_BYTES, after_handshake, transport_fault};
use super::plan::Framing;
use super::port::Port;
use super::transport::Transport;
use super::turns::{Permission, Turns};
use crate::adapter::{Fault, FaultKind};
use crate::health::Health;

/// After so many failures in a row a serial port is opened anew: an adapter of USB may hang.
pub(crate) const REOPEN_AFTER: u32 = 3;
/// A line that is not silent within so many times the silence that is waited for is opened anew.
const SILENCE_WITHIN: u32 = 4;

/// Lines in use, by what they are: a serial port exists once, whoever asks for it.
static LINES: LazyLock<Mutex<BTreeMap<String, Weak<Line>>>> = LazyLock::new(Mutex::default);

pub(crate) struct Line {
    transport: Transport,
    wire: tokio::sync::Mutex<Wire>,
    turns: Mutex<Turns>,
    /// Told whenever turns change.
    changed: Notify,
    /// Held by the one unit that is down and is being tried, or is next to be: first come, first served.
    attempt: tokio::sync::Mutex<()>,
}

/// The connection. No client: it is not known that the line is silent.
#[derive(Default)]
struct Wire {
    client: Option<Client>,
    /// RTU only: what the client speaks over.
    port: Option<Port>,
    /// RTU only: how long the line must be silent before it is used again.
    silence: Duration,
    failures: u32,
}

/// One unit's place on a line. It leaves when this is dropped.
pub(crate) struct Seat {
    line: Arc<Line>,
    unit_id: u8,
    timeout: Duration,
    place: u64,
}

impl Line {
    /// The line of this transport: the same for all who ask while one of them has it.
    pub(crate) fn of(transport: &Transport) -> Arc<Self> {
        // By the name that is configured as well: what a link points to may be there only later, or change.
        let keys = [transport.address().to_owned(), transport.line()]
            .map(|name| format!("{} {name} {}", transport.protocol(), transport.terms()));
        let mut lines = lock(&LINES);
        lines.retain(|_, line| line.strong_count() > 0);
        if let Some(line) = keys.iter().find_map(|key| lines.get(key).and_then(Weak::upgrade)) {
            for key in keys {
                lines.insert(key, Arc::downgrade(&line));
            }
            return line;
        }
        let line = Arc::new(Self {
            transport: transport.clone(),
            wire: tokio::sync::Mutex::default(),
            turns: Mutex::default(),
            changed: Notify::new(),
            attempt: tokio::sync::Mutex::default(),
        });
        for key in keys {
            lines.insert(key, Arc::downgrade(&line));
        }
        line
    }

    /// A place for a unit. An answer may take `timeout`, besides the time that its bytes take on a serial line.
    pub(crate) fn sit(self: &Arc<Self>, unit_id: u8, timeout: Duration) -> Seat {
        Seat { line: Arc::clone(self), unit_id, timeout, place: lock(&self.turns).join() }
    }

    fn is_rtu(&self) -> bool {
        self.transport.framing() == Framing::Rtu
    }

    fn change(&self, change: impl FnOnce(&mut Turns)) {
        change(&mut lock(&self.turns));
        self.changed.notify_waiters();
    }
}

impl Seat {
    /// A poll begins; neighbours that are down keep out of its way.
    pub(crate) fn poll_begins(&self) {
        self.line.change(|turns| turns.poll_begins(self.place));
    }

    /// A poll is over, and the next is due at this moment.
    pub(crate) fn poll_ended(&self, up: bool, due: Instant) {
        self.line.change(|turns| turns.poll_ended(self.place, up, due));
    }

    /// How long this unit, which is down, waits at least.
    pub(crate) fn rest(&self) -> Duration {
        let until = lock(&self.line.turns).rest(self.place);
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    /// Waits until this unit, which is down, may be tried. It is while the guard lives.
    pub(crate) async fn turn_of_dead(&self) -> tokio::sync::MutexGuard<'_, ()> {
        let turn = self.line.attempt.lock().await;
        let since = Instant::now();
        loop {
            let changed = self.line.changed.notified();
            let permission =
                lock(&self.line.turns).permission(self.place, since, self.longest(), Instant::now());
            match permission {
                Permission::Now => return turn,
                Permission::Later(moment) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(moment) => {}
                },
            }
        }
    }

    /// How long a failed attempt may take the line: the time-out, and on RTU the silence after it.
    fn longest(&self) -> Duration {
        if self.line.is_rtu() { self.timeout * 2 } else { self.timeout }
    }

    /// Asks, over a new connection if there is none. After an error there is none, or the line is silent again.
    pub(crate) async fn ask(&self, ask: &Ask, health: &Health) -> Result<Answer, Fault> {
        let answer = self.ask_if(ask, health, &|| true).await?;
        Ok(answer.expect("a question that may always be asked is asked"))
    }

    /// The same, unless `may` says no when the line is free and nothing is left but to ask; then `None`.
    pub(crate) async fn ask_if(
        &self,
        ask: &Ask,
        health: &Health,
        may: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Answer>, Fault> {
        let mut wire = self.line.wire.lock().await;
        let begun = Instant::now();
        let outcome = self.exchange(&mut wire, ask, health, may).await;
        if outcome.is_ok() {
            wire.failures = 0;
        } else {
            wire.failures = wire.failures.saturating_add(1);
            self.line.settle(&mut wire).await;
            let now = Instant::now();
            self.line.change(|turns| turns.failed(now - begun, now));
        }
        outcome
    }

    /// An attempt took the line for so long and brought nothing, although an answer came: a gateway's word that the unit
    /// behind it is dead.
    pub(crate) fn failed(&self, took: Duration) {
        self.line.change(|turns| turns.failed(took, Instant::now()));
    }

    /// Closes a connection over which nothing went wrong that this program could see.
    pub(crate) async fn close(&self) {
        if !self.line.is_rtu() {
            self.line.wire.lock().await.client = None;
        }
    }

    async fn exchange(
        &self,
        wire: &mut Wire,
        ask: &Ask,
        health: &Health,
        may: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Answer>, Fault> {
        if wire.has_unasked_bytes().await {
            self.line.settle(wire).await;
        }
        let (mut client, is_new) = match wire.client.take() {
            Some(client) => (client, false),
            None => (self.connect(wire, health).await?, true),
        };
        // Until it is put back at the end, the client belongs to this call. So whatever ends the call early leaves none:
        // a fault, a time-out, and also a caller that drops it halfway.
        let transport = &self.line.transport;
        if let Some(port) = &wire.port {
            sleep_until(port.last_byte() + transport.frame_gap()).await;
            port.count_from_here();
            wire.silence = self.timeout.max(transport.frame_gap());
        }
        if !may() {
            wire.client = Some(client);
            return Ok(None);
        }
        client.set_slave(Slave(self.unit_id));
        health.requested();
        let sent = Instant::now();
        let on_the_way = transport.take(ask.rtu_bytes() + ask.rtu_answer_bytes());
        let outcome = timeout(self.timeout + on_the_way, client.call(ask.request())).await;
        if planted!(KeepsFailedConnections) && !matches!(outcome, Ok(Ok(_))) && wire.port.is_none() {
            wire.client = Some(client);
            return Err(Fault::new(FaultKind::Timeout, "no answer"));
        }
        let answer = match outcome {
            Err(_) => {
                return Err(Fault::new(FaultKind::Timeout, format!("no answer within {:?}", self.timeout)));
            }
            Ok(Err(error)) if is_new && transport.framing() == Framing::Tls => {
                return Err(after_handshake(&error));
            }
            Ok(Err(error)) => return Err(transport_fault(&error)),
            Ok(Ok(Err(exception))) => Answer::Refused(exception.into()),
            Ok(Ok(Ok(response))) => ask.fitting(response)?,
        };
        let received = wire.port.as_ref().map_or(0, Port::received);
        if ask.is_more_than_answered(received, matches!(answer, Answer::Refused(_))) {
            let detail = format!("{received} bytes came, more than one answer to {ask:?}");
            return Err(Fault::new(FaultKind::Protocol, detail));
        }
        health.answered(sent.elapsed());
        wire.client = Some(client);
        Ok(Some(answer))
    }

    /// A client, on a line that is silent.
    async fn connect(&self, wire: &mut Wire, health: &Health) -> Result<Client, Fault> {
        // A caller was dropped halfway, and nobody has listened since.
        if wire.port.is_some() {
            self.line.settle(wire).await;
            if let Some(client) = wire.client.take() {
                return Ok(client);
            }
        }
        let (transport, address) = (&self.line.transport, self.line.transport.address());
        let fault = |detail| Fault::new(FaultKind::Unreachable, detail);
        let stream = match timeout(self.timeout, transport.open()).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(fault(format!("{address}: {error}{}", advice(transport, &error)))),
            Err(_) => return Err(fault(format!("{address}: no connection within {:?}", self.timeout))),
        };
        health.connected();
        let slave = Slave(self.unit_id);
        if !self.line.is_rtu() {
            return Ok(tcp::attach_slave(stream, slave));
        }
        // Somebody may have asked before and not waited for the answer: an adapter that was stopped, a program that was
        // killed, a connection that broke. On RTU that answer would be taken for this one's.
        let port = Port::new(stream);
        let silence = self.timeout.max(transport.frame_gap());
        if !planted!(DoesNotListenFirst) && !is_silent_for(&port, silence).await {
            return Err(fault(format!("{address}: the line is not silent, although nobody was asked")));
        }
        Ok(rtu::attach_slave(wire.port.insert(port).lend(), slave))
    }
}

impl Line {
    /// After a failure: nothing late can arrive any more. See the module.
    async fn settle(&self, wire: &mut Wire) {
        if planted!(KeepsFailedConnections) && wire.port.is_none() {
            return;
        }
        wire.client = None;
        let Some(port) = &wire.port else { return };
        if planted!(TakesLateAnswers) {
            wire.client = Some(rtu::attach_slave(port.lend(), Slave(0)));
            return;
        }
        let silent = is_silent_for(port, wire.silence).await;
        let serial = !matches!(self.transport, Transport::RtuOverTcp { .. });
        if silent && serial && !(wire.failures > 0 && wire.failures.is_multiple_of(REOPEN_AFTER)) {
            wire.client = Some(rtu::attach_slave(port.lend(), Slave(0)));
        } else {
            wire.port = None;
        }
    }
}

impl Wire {
    /// RTU: is there a frame, or more, although nobody has asked? The end of the stream counts too; a byte or two is the
    /// noise of a line that switches its direction, and is thrown away.
    async fn has_unasked_bytes(&mut self) -> bool {
        let (Some(port), Some(_)) = (&self.port, &self.client) else { return false };
        match port.discard_waiting().await {
            None => false,
            Some(Ok(bytes)) => bytes == 0 || bytes as u64 >= SHORTEST_FRAME_BYTES,
            Some(Err(_)) => true,
        }
    }
}

/// Throws away what comes until nothing came for `silence`; not when the stream ends, or is not silent for long.
async fn is_silent_for(port: &Port, silence: Duration) -> bool {
    let give_up = Instant::now() + silence * SILENCE_WITHIN;
    let mut quiet = Instant::now() + silence;
    loop {
        match timeout_at(quiet, port.discard()).await {
            Err(_) => return true,
            Ok(Ok(0) | Err(_)) => return false,
            Ok(Ok(_)) => quiet = Instant::now() + silence,
        }
        if quiet > give_up {
            return false;
        }
    }
}

/// What to do about it, where that is known.
fn advice(transport: &Transport, error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied if transport.protocol() == "modbus-rtu" => {
            " (the user of this program must be in the group `dialout`)"
        }
        _ => "",
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.line.change(|turns| turns.leave(self.place));
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unit {} on {}", self.unit_id, self.line.transport.line())
    }
}

/// Each change under these locks is complete by itself, so a panic elsewhere leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
