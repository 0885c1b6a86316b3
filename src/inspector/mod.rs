//! The inspector: records requests and operations while it is on, and shows them on the admin listener.
//!
//! The proxy and the sessions hold an [`Inspector`], which is empty unless `inspect.enabled` is set. It
//! gives each request a [`Capture`], which travels in the request's record and stores its parts: headers,
//! bodies, frames. The store is bounded in bytes; it evicts the oldest finished entries. Credentials and
//! tokens are masked before anything is stored.

mod access;
mod api;
mod assets;
mod capture;
mod classify;
mod copy;
mod entry;
mod filter;
mod frames;
mod har;
mod json;
mod mask;
mod payload;
mod replay;
mod resend;
mod respond;
mod state;
mod store;
mod stream;

pub use api::{InspectApi, Lifetime};
pub use capture::{Capture, Inspector};
pub use entry::{Direction, Facts, RejectionFacts, ShownConnection, Side};
pub use frames::{FrameLog, message_id};
pub use state::{Reasons, RouteSource, StateSources};
