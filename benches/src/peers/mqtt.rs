//! As much of MQTT 3.1.1 as a device needs to report: CONNECT, and PUBLISH with QoS 1.

use anyhow::{Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// Packet types in the upper four bits of the first byte; PUBLISH with QoS 1.
const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH_QOS1: u8 = 0x32;
const PUBACK: u8 = 0x40;
/// Bytes of CONNACK and PUBACK.
const ANSWER_BYTES: usize = 4;
/// Seconds within which a session must say something: longer than any run.
const KEEP_ALIVE_S: u16 = 3_600;
/// A new session without user and will.
const CLEAN: u8 = 0x02;

/// A session with a broker.
pub(crate) struct Session {
    stream: TlsStream<TcpStream>,
    topic: String,
    body: &'static [u8],
    packet: u16,
}

impl Session {
    /// Opens a session that will publish `body`.
    pub(crate) async fn open(
        mut stream: TlsStream<TcpStream>,
        id: &str,
        body: &'static [u8],
    ) -> Result<Self> {
        let mut said = Vec::new();
        text(&mut said, "MQTT")?;
        said.extend([4, CLEAN]);
        said.extend(KEEP_ALIVE_S.to_be_bytes());
        text(&mut said, id)?;
        let mut packet = Vec::new();
        write_packet(&mut packet, CONNECT, &said);
        stream.write_all(&packet).await?;
        stream.flush().await?;
        let mut answer = [0; ANSWER_BYTES];
        stream.read_exact(&mut answer).await?;
        ensure!(answer == [CONNACK, 2, 0, 0], "the broker refused the session: {answer:?}");
        Ok(Self { stream, topic: format!("heartbeat/{id}"), body, packet: 0 })
    }

    /// Publishes `count` times in one go and waits until all are acknowledged.
    pub(crate) async fn publish(&mut self, count: u32) -> Result<()> {
        let mut packets = Vec::new();
        for _ in 0..count {
            self.packet = self.packet.checked_add(1).unwrap_or(1);
            let mut said = Vec::with_capacity(self.body.len() + 64);
            text(&mut said, &self.topic)?;
            said.extend(self.packet.to_be_bytes());
            said.extend(self.body);
            write_packet(&mut packets, PUBLISH_QOS1, &said);
        }
        self.stream.write_all(&packets).await?;
        self.stream.flush().await?;
        let mut answers = vec![0; usize::try_from(count)? * ANSWER_BYTES];
        self.stream.read_exact(&mut answers).await?;
        let all = answers.chunks_exact(ANSWER_BYTES).all(|answer| answer.starts_with(&[PUBACK, 2]));
        ensure!(all, "the broker did not acknowledge");
        Ok(())
    }
}

fn text(out: &mut Vec<u8>, text: &str) -> Result<()> {
    out.extend(u16::try_from(text.len())?.to_be_bytes());
    out.extend(text.as_bytes());
    Ok(())
}

/// Type, length in groups of seven bits, content.
fn write_packet(out: &mut Vec<u8>, kind: u8, content: &[u8]) {
    out.push(kind);
    let mut length = content.len();
    loop {
        let low = u8::try_from(length % 128).unwrap_or_default();
        length /= 128;
        out.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    out.extend(content);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_in_groups_of_seven_bits() {
        for (length, bytes) in [(0, vec![0]), (127, vec![0x7f]), (128, vec![0x80, 1]), (321, vec![0xc1, 2])] {
            let mut packet = Vec::new();
            write_packet(&mut packet, PUBACK, &vec![7; length]);
            assert_eq!(packet.get(1..=bytes.len()), Some(bytes.as_slice()), "{length}");
            assert_eq!(packet.len(), 1 + bytes.len() + length);
        }
    }
}
