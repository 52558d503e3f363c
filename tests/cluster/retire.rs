//! A jurisdiction ends: retired, it takes nothing new; deleted is only what is frozen, and what it still
//! has only by its count.

use anyhow::ensure;
use bailiwick_tests::joiner::{operate, operated, refused};
use bailiwick_tests::{Running, cluster, eventually};

use crate::binary;
use crate::desk::{RETURN, put, stored};

/// Records that the jurisdiction still has.
const RECORDS: u32 = 9;
const DELETE: [&str; 5] = ["operator", "jurisdiction", "retire", "FR", "--delete-data"];

async fn not_deleted(cluster: &Running, more: &[&str], why: &str) -> anyhow::Result<()> {
    let said = refused(cluster, binary(), &[&DELETE, more].concat()).await?;
    ensure!(said.contains(why), "expected {why:?}: {said}");
    ensure!(
        stored(cluster).await? == u64::from(RECORDS),
        "nothing is deleted"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jurisdiction_with_records_is_deleted_only_frozen_and_by_their_count()
-> anyhow::Result<()> {
    let _turn = crate::turn().await;
    let cluster = cluster(binary(), &[]).await?;
    put(&cluster, "resident", RECORDS).await?;
    not_deleted(&cluster, &["--yes"], "FR is serving").await?;
    let retire = ["operator", "jurisdiction", "retire", "FR", "--yes"];
    operated(&cluster, binary(), &retire).await?;
    not_deleted(&cluster, &["--yes", "--force", "9"], "FR is not frozen").await?;
    let freeze = ["operator", "freeze", "FR", "--reason", "it ends", "--yes"];
    let frozen = operate(&cluster, binary(), &freeze).await?;
    ensure!(frozen.status.success(), "{frozen:?}");
    eventually("a freeze that every node knows", RETURN, || async {
        let said = refused(&cluster, binary(), &[&DELETE[..], &["--yes"]].concat()).await?;
        Ok(said.contains("still has 9 records").then_some(()))
    })
    .await?;
    not_deleted(
        &cluster,
        &["--yes", "--force", "8"],
        "--force names 8 records",
    )
    .await?;
    let counted = ["--force", "9", "--dry-run"];
    let tried = operate(&cluster, binary(), &[&DELETE[..], &counted].concat()).await?;
    let said = String::from_utf8_lossy(&tried.stderr).into_owned();
    ensure!(
        tried.status.success() && said.contains("9 records"),
        "{said}"
    );
    ensure!(stored(&cluster).await? == u64::from(RECORDS), "a dry run");
    operated(
        &cluster,
        binary(),
        &[&DELETE[..], &["--force", "9", "--yes"]].concat(),
    )
    .await?;
    eventually("nothing left of it", RETURN, || async {
        Ok((stored(&cluster).await? == 0).then_some(()))
    })
    .await
}
