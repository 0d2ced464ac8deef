//! A timer that is kept from wait to wait: to move it later costs nothing until it rings.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep};

/// The timer of one task. It may ring too early, never too late: whoever it wakes looks at the time.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Ready once `at` has come, or a time asked for before it.
    pub(crate) fn poll(&mut self, at: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = at else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if at < sleep.deadline() || sleep.is_elapsed() {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn an_alarm_rings_at_the_earliest_time_asked_for() {
        let start = Instant::now();
        let mut alarm = Alarm::default();
        let at = |ms| Some(start + Duration::from_millis(ms));
        for (asked, rings_at_ms) in [(vec![at(500), at(100)], 100), (vec![at(300)], 300), (vec![at(50)], 300)]
        {
            let mut asked = asked.into_iter();
            let last = poll_fn(|cx| match asked.next() {
                Some(at) if alarm.poll(at, cx).is_pending() && asked.len() > 0 => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Some(at) => Poll::Ready(at),
                None => Poll::Pending,
            })
            .await;
            poll_fn(|cx| alarm.poll(last, cx)).await;
            assert_eq!(start.elapsed().as_millis(), rings_at_ms);
        }
    }
}
