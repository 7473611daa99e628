//! Describes the node-to-node service to tonic. The messages are prost structures written by hand in `proto.rs`, so that
//! no protoc is needed.

fn main() {
    println!("cargo:rerun-if-changed=src/rpc/build.rs");
    let codec = "tonic_prost::ProstCodec";
    let method = |name: &str, route: &str, input: &str, output: &str| {
        tonic_build::manual::Method::builder()
            .name(name)
            .route_name(route)
            .input_type(input)
            .output_type(output)
            .codec_path(codec)
    };
    let frame = "crate::rpc::proto::Frame";
    let service = tonic_build::manual::Service::builder()
        .name("Node")
        .package("meridian")
        .method(method("exchange", "Exchange", frame, frame).client_streaming().server_streaming().build())
        .method(method("call", "Call", "crate::rpc::proto::Request", "crate::rpc::proto::Response").build())
        .build();
    tonic_build::manual::Builder::new().compile(&[service]);
}
