//! Members of a committee that do not do what they should.

use anyhow::{Context, ensure};
use bailiwick_cli::commands::disclose::disclosed;
use bailiwick_tests::{PATIENCE, eventually, failed, inside, ip, phone, window};
use bailiwick_types::Role;

use crate::story;

/// Section 9: one approver returns wrong values, correctly signed and sealed. The others' values open
/// the records all the same, and the liar is named.
#[tokio::test(flavor = "multi_thread")]
async fn a_liar_is_contradicted_and_survived() -> anyhow::Result<()> {
    story(async |cluster| {
        let at = |minutes| inside(window(), minutes);
        cluster
            .put(vec![
                phone("lied-about", "FR", "+33612345699", &at(1)),
                ip("lied-about", "FR", "192.0.2.99", 4099, &at(2)),
            ])
            .await?;
        cluster.stage.stop("legal-3").map_err(failed)?;
        cluster.stage.start_liar("legal-3").map_err(failed)?;
        cluster.ready("legal-3").await?;

        let request = cluster.request("lied-about", "liar-1").await?.id;
        let everybody = ["anna", "ben", "chloe", "dora", "emil", "fay"];
        cluster.approve(request, &everybody).await?;
        eventually("all six to release", PATIENCE, || async {
            let view = cluster.view(request).await?;
            Ok((view.releases.len() == 6).then_some(()))
        })
        .await?;
        let opened = cluster.stage.open(request, PATIENCE, true).await;
        let (_, opened) = opened.map_err(failed)?;
        let opened = opened.context("a liar does not stop a disclosure")?;
        let mut values: Vec<_> = disclosed(&opened.opening)
            .into_iter()
            .map(|record| record.value)
            .collect();
        values.sort();
        ensure!(values == ["+33612345699", "192.0.2.99"], "{values:?}");
        ensure!(opened.members.len() == 6, "all six were read");
        let contradicted = &opened.opening.contradicted;
        ensure!(!contradicted.is_empty(), "the liar was noticed");
        for found in contradicted {
            let liar = (found.role, found.slot.number()) == (Role::LegalReview, 3);
            ensure!(liar, "nobody else is accused: {found:?}");
        }

        // The control: the same member, honest again, is not contradicted.
        cluster.restart("legal-3").await?;
        let request = cluster.request("lied-about", "liar-2").await?.id;
        cluster.approve(request, &everybody).await?;
        ensure!(cluster.values(request).await? == values, "the same records");
        Ok(())
    })
    .await
}
