//! An attempt of a session that is over, until nothing is left of it.

use std::task::{Context, Poll};

use super::asks::Ask;

/// An attempt that ends: its consumers are given nothing more when all of these are answered.
#[derive(Debug, Default)]
pub(super) struct Closing {
    pub(super) has_begun: bool,
    pub(super) suspends: Vec<Ask>,
}

impl Closing {
    pub(super) fn may_go_on(&mut self) -> bool {
        !self.has_begun || self.suspends.iter_mut().all(Ask::is_answered)
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut may_go_on = true;
        for suspend in &mut self.suspends {
            may_go_on &= suspend.poll(cx).is_ready();
        }
        if may_go_on { Poll::Ready(()) } else { Poll::Pending }
    }
}
