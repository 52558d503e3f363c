//! Plain HTTP to a health listener on loopback.

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The status and the body of a GET.
///
/// # Errors
/// When nobody answers, or not in HTTP.
pub async fn get(port: u16, path: &str) -> anyhow::Result<(u16, String)> {
    ask("GET", port, path).await
}

/// The status and the body of a request without a body of its own.
///
/// # Errors
/// When nobody answers, or not in HTTP.
pub async fn ask(method: &str, port: u16, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8(answer).context("the answer is text")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an HTTP answer")?;
    let status = head.split_whitespace().nth(1).context("a status line")?;
    Ok((status.parse()?, body.to_owned()))
}
