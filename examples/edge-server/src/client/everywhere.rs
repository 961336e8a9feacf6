//! Clearing every edge of a distribution, through the control port of one.

use std::time::Instant;

use serde_json::Value;

use super::port::{Failure, Port, encoded, understood};
use super::{LOOK, Progress, WAIT, show};
use crate::api;

/// Makes an invalidation, and if so wished waits until every edge that lives has done it.
pub(super) async fn invalidate(
    port: &Port,
    asked: &api::InvalidationRequest,
    wait: bool,
) -> Result<Value, Failure> {
    let mut answer = port.post("/distribution/invalidations", asked).await?;
    let started = Instant::now();
    let mut progress = Progress::default();
    loop {
        let receipt: api::DistributionReceipt = understood(&answer)?;
        if !wait || receipt.state == api::State::Completed {
            progress.end();
            return Ok(answer);
        }
        progress.say(&show::distribution_progress(&receipt));
        if started.elapsed() > WAIT {
            progress.end();
            return Err(Failure::Unfinished(format!("{} is in the log", receipt.id)));
        }
        answer = ask(port, &receipt.id, LOOK).await?;
    }
}

/// How far every edge has got, within so many seconds.
pub(super) async fn ask(port: &Port, id: &str, wait: u64) -> Result<Value, Failure> {
    port.get(&format!("/distribution/invalidations/{}?wait={wait}", encoded(id))).await
}
