//! A subscription (OPC 10000-4, 5.14): the server samples, keeps a queue, and says what changed.
//!
//! **Asking for answers.** A few publish requests wait at the server at any time; each is answered once, and answers come
//! in the order of the requests. They are taken in that order, and the next request goes out when the values of an answer
//! were handed over: with a full queue here, nothing is asked, and the server keeps its own. What finds no room in that
//! either is dropped there by the rule of `discard_oldest`, and the next value has the overflow bit in its status. A
//! server that is not asked for as long as `keep_for` gives the subscription up; then it is made anew.
//!
//! **Nothing missed.** Each notification has a number. One that is missing is asked for again before the later ones are
//! taken; the server keeps each until it is acknowledged, which happens when its values were handed over. What the server
//! has no more is counted.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use opcua::core::ResponseMessage;
use opcua::types::{
    CreateSubscriptionRequest, DataChangeNotification, DataValue, ExtensionObject, NotificationMessage,
    PublishRequest, PublishResponse, RepublishRequest, StatusChangeNotification, StatusCode,
    SubscriptionAcknowledgement,
};
use tokio::time::Instant;

use super::link::Asker;
use super::session::unexpected;
use crate::adapter::{Fault, FaultKind};
use crate::health::Health;

/// Publish requests that wait at the server: one being answered, one on its way, one for the time between.
const REQUESTS: usize = 3;
/// Notifications that are asked for again in one go; a server keeps no more than some dozens.
const REPUBLISH_MAX: u32 = 1_000;
/// Values in one notification; the server says when there are more.
const VALUES_MAX: u32 = 5_000;
/// Acknowledgements in one request.
const ACKS_MAX: usize = 1_000;

/// What is wished of the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    /// How often it looks whether there is something to say.
    pub(crate) publishing: Duration,
    /// It says at least this often that it is there.
    pub(crate) keep_alive: Duration,
    /// It keeps the subscription as long without being asked.
    pub(crate) keep_for: Duration,
}

/// A subscription, which outlives a connection.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    id: u32,
    /// Number of the next notification.
    expected: u32,
    /// The server is silent for as long at most, by its own word.
    silence: Duration,
    pub(crate) publishing: Duration,
}

/// What came.
#[derive(Debug)]
pub(crate) enum Came {
    /// These values, by the handles of their items, in order.
    Values(Vec<(u32, DataValue)>),
    /// The subscription is gone.
    Gone(StatusCode),
}

/// Publish requests on one connection. Dropping it takes them back, as far as this side goes.
pub(crate) struct Publisher {
    asker: Asker,
    waiting: VecDeque<Asked>,
    wanted: usize,
    acks: Vec<SubscriptionAcknowledgement>,
    /// When the last answer came, or taking one ended.
    heard: Instant,
}

type Answer = Result<ResponseMessage, Fault>;

/// A publish request under way. Only the oldest is waited for; the others were sent when they were made.
struct Asked {
    answer: Pin<Box<dyn Future<Output = Answer> + Send>>,
    early: Option<Answer>,
}

impl Asked {
    /// Sends it: what is polled in one task, one after the other, goes out in that order, and so come the answers. Tasks
    /// of their own would send in any order, and the answer to the first might wait behind that to the second for ever.
    async fn send(answer: impl Future<Output = Answer> + Send + 'static) -> Self {
        let mut asked = Self { answer: Box::pin(answer), early: None };
        poll_fn(|context| {
            if let Poll::Ready(answer) = asked.answer.as_mut().poll(context) {
                asked.early = Some(answer);
            }
            Poll::Ready(())
        })
        .await;
        asked
    }

    async fn answered(&mut self) -> Answer {
        match self.early.take() {
            Some(answer) => answer,
            None => self.answer.as_mut().await,
        }
    }
}

impl Subscription {
    /// Makes one.
    pub(crate) async fn create(asker: &Asker, wish: Wish) -> Result<Self, Fault> {
        let times = |long: Duration| (long.as_secs_f64() / wish.publishing.as_secs_f64()).ceil() as u32;
        let keep_alive = times(wish.keep_alive).max(1);
        let request = CreateSubscriptionRequest {
            request_header: asker.header(),
            requested_publishing_interval: wish.publishing.as_secs_f64() * 1_000.0,
            // At least three times the other one, by the standard.
            requested_lifetime_count: times(wish.keep_for).max(keep_alive.saturating_mul(3)),
            requested_max_keep_alive_count: keep_alive,
            max_notifications_per_publish: VALUES_MAX,
            publishing_enabled: true,
            priority: 0,
        };
        let answer = match asker.ask(request).await? {
            ResponseMessage::CreateSubscription(answer) => answer,
            other => return Err(unexpected(&other)),
        };
        let revised_ms = answer.revised_publishing_interval;
        // What a server says here is its word and no promise that it makes sense.
        let publishing = Duration::try_from_secs_f64(revised_ms / 1_000.0)
            .unwrap_or(wish.publishing)
            .clamp(Duration::from_millis(1), Duration::from_hours(1));
        let silence = publishing
            .saturating_mul(answer.revised_max_keep_alive_count.max(1))
            .clamp(publishing, Duration::from_hours(1));
        Ok(Self { id: answer.subscription_id, expected: 1, silence, publishing })
    }

    /// For the items of it.
    pub(crate) const fn id(&self) -> u32 {
        self.id
    }
}

impl Publisher {
    /// Nothing is asked yet.
    pub(crate) fn new(asker: Asker) -> Self {
        let waiting = VecDeque::new();
        Self { asker, waiting, wanted: REQUESTS, acks: Vec::new(), heard: Instant::now() }
    }

    /// Asks for as many answers as should be under way.
    pub(crate) async fn ask(&mut self, subscription: &Subscription) {
        // Each may have to wait for those before it.
        let within = subscription.silence.saturating_mul(REQUESTS as u32 + 1) + self.asker.timeout();
        while self.waiting.len() < self.wanted {
            let left = self.acks.split_off(self.acks.len().min(ACKS_MAX));
            let acks = std::mem::replace(&mut self.acks, left);
            let request = PublishRequest {
                request_header: self.asker.header_for(within),
                subscription_acknowledgements: if acks.is_empty() { None } else { Some(acks) },
            };
            let asker = self.asker.clone();
            let asking = async move { asker.ask_within(request, within).await };
            self.waiting.push_back(Asked::send(asking).await);
        }
    }

    /// The server should have said something by then.
    pub(crate) fn silent_at(&self, subscription: &Subscription) -> Instant {
        // Twice: it counts its time from the last answer, and a busy one is late.
        self.heard + subscription.silence * 2 + self.asker.timeout()
    }

    /// The time that was spent on something else does not count as silence.
    pub(crate) fn was_busy(&mut self) {
        self.heard = Instant::now();
    }

    /// The next answer. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Result<PublishResponse, Fault> {
        loop {
            let Some(oldest) = self.waiting.front_mut() else { return std::future::pending().await };
            let answer = oldest.answered().await;
            self.waiting.pop_front();
            self.heard = Instant::now();
            match answer {
                Ok(ResponseMessage::Publish(answer)) => return Ok(*answer),
                Ok(other) => return Err(unexpected(&other)),
                // It has enough of them; one is always allowed.
                Err(fault) if is(&fault, StatusCode::BadTooManyPublishRequests) && self.wanted > 1 => {
                    self.wanted -= 1;
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// What an answer brings, with what was missed before it.
    pub(crate) async fn take(
        &mut self,
        subscription: &mut Subscription,
        answer: PublishResponse,
        health: &Health,
    ) -> Result<Came, Fault> {
        if answer.subscription_id != subscription.id {
            // Left over from before; the server forgets it by itself.
            return Ok(Came::Values(Vec::new()));
        }
        let message = answer.notification_message;
        let has_data = message.notification_data.as_ref().is_some_and(|data| !data.is_empty());
        let mut values = Vec::new();
        let missed = message.sequence_number.wrapping_sub(subscription.expected);
        // Numbers go up from 1, and after the last comes 1 again. One from before is one that was sent again.
        if missed > 0 && missed < u32::MAX / 2 {
            self.again(subscription, missed, &mut values, health).await?;
        }
        if !has_data {
            // It is only there; the number is that of the next notification.
            subscription.expected = message.sequence_number.max(1);
            return Ok(Came::Values(values));
        }
        if missed >= u32::MAX / 2 {
            return Ok(Came::Values(values));
        }
        subscription.expected = after(message.sequence_number);
        self.acknowledge(subscription, message.sequence_number);
        match read(message, &mut values, health) {
            Some(status) => Ok(Came::Gone(status)),
            None => Ok(Came::Values(values)),
        }
    }

    /// Asks for notifications that did not come.
    async fn again(
        &mut self,
        subscription: &mut Subscription,
        missed: u32,
        values: &mut Vec<(u32, DataValue)>,
        health: &Health,
    ) -> Result<(), Fault> {
        if missed > REPUBLISH_MAX {
            health.subscription(|figures| figures.notifications_lost += u64::from(missed - REPUBLISH_MAX));
        }
        let first = subscription.expected.wrapping_add(missed.saturating_sub(REPUBLISH_MAX));
        for back in 0..missed.min(REPUBLISH_MAX) {
            let number = first.wrapping_add(back);
            if number == 0 {
                continue;
            }
            let request = RepublishRequest {
                request_header: self.asker.header(),
                subscription_id: subscription.id,
                retransmit_sequence_number: number,
            };
            match self.asker.ask(request).await {
                Ok(ResponseMessage::Republish(answer)) => {
                    health.subscription(|figures| figures.republished += 1);
                    self.acknowledge(subscription, number);
                    // A change of status among them is followed by the end of all answers.
                    let _ = read(answer.notification_message, values, health);
                }
                Ok(other) => return Err(unexpected(&other)),
                Err(Fault { kind: FaultKind::Refused(_), .. }) => {
                    health.subscription(|figures| figures.notifications_lost += 1);
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    fn acknowledge(&mut self, subscription: &Subscription, number: u32) {
        self.acks
            .push(SubscriptionAcknowledgement { subscription_id: subscription.id, sequence_number: number });
    }
}

/// The number after this one (OPC 10000-4, 7.14: zero is never used).
const fn after(number: u32) -> u32 {
    if number == u32::MAX { 1 } else { number + 1 }
}

/// Adds the values of a notification; `Some` when it says that the subscription is gone.
fn read(
    message: NotificationMessage,
    values: &mut Vec<(u32, DataValue)>,
    health: &Health,
) -> Option<StatusCode> {
    let before = values.len();
    let mut gone = None;
    for data in message.notification_data.into_iter().flatten() {
        if data.inner_is::<DataChangeNotification>() {
            values.extend(changes(data));
        } else if let Some(change) = data.inner_as::<StatusChangeNotification>() {
            gone = Some(change.status);
        }
    }
    let overflows = values[before..].iter().filter(|(_, data)| data.status().overflow()).count();
    health.subscription(|figures| {
        figures.notifications += 1;
        figures.values += (values.len() - before) as u64;
        figures.overflows += overflows as u64;
    });
    gone
}

fn changes(data: ExtensionObject) -> impl Iterator<Item = (u32, DataValue)> {
    let changes = data.into_inner_as::<DataChangeNotification>();
    let items = changes.and_then(|changes| changes.monitored_items).unwrap_or_default();
    items.into_iter().map(|item| (item.client_handle, item.value))
}

/// Is this the server's word?
pub(crate) fn is(fault: &Fault, status: StatusCode) -> bool {
    fault.kind == FaultKind::Refused(status.bits())
}
