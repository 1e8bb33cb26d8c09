//! Streams and those who may not listen any more.

use futures_util::StreamExt as _;

use super::*;

#[tokio::test]
async fn an_operator_who_was_removed_meanwhile_hears_of_no_alert() {
    let bench = Bench::new().await;
    let vera = bench.operator("vera", OperatorRole::Viewer).await;
    let mut request = Request::builder().uri("/api/v1/alerts/stream").body(Body::empty()).unwrap();
    request.extensions_mut().insert(vera);
    let response = bench.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut pieces = response.into_body().into_data_stream();
    let mut heard =
        async || pieces.next().await.map(|piece| String::from_utf8(piece.unwrap().to_vec()).unwrap());
    assert!(heard().await.unwrap().starts_with(':'));
    plans::alert(&bench, 1).await;
    bench.shared().alerts.tell();
    assert!(heard().await.unwrap().contains("event: alert"));
    let removed = bench.ask(local(), "DELETE", "/api/v1/operators/vera", &[], "{}").await;
    assert_eq!(removed.status, StatusCode::OK, "{}", removed.body);
    plans::alert(&bench, 2).await;
    bench.shared().alerts.tell();
    assert_eq!(heard().await, None);
}
