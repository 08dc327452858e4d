//! Figures of a source that reports changes by subscription (OPC-UA).

use serde::{Deserialize, Serialize};

/// Figures of a subscription, since the start of the gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionFigures {
    /// Nodes that are watched at this moment.
    pub items: u64,
    /// Nodes that the server does not let watch at this moment; they are asked for ever more rarely.
    pub items_refused: u64,
    /// Notifications that came.
    pub notifications: u64,
    /// Values in them.
    pub values: u64,
    /// Notifications that were missed and sent again by the server.
    pub republished: u64,
    /// Notifications that were missed and are gone.
    pub notifications_lost: u64,
    /// Values before which the server dropped others, since its queue was full.
    pub overflows: u64,
    /// Connections after which the session was still there, and nothing was lost.
    pub resumed: u64,
    /// Subscriptions that were made anew.
    pub recreated: u64,
    /// Nodes of which the server said nothing although their value changed; they were watched anew.
    pub deaf: u64,
}
