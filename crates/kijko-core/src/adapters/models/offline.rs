//! Answers without a network, so that Kijko can be tried on any machine: deterministic, in pieces, with real token
//! counts, and labelled as what it is.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream;

use crate::error::Result;
use crate::ports::models::{ModelError, ModelEvent, ModelProvider, ModelRequest, ModelStream};

/// Between two pieces, so that a stream looks like one.
const PACE: Duration = Duration::from_millis(5);
/// Of the prompt, the part that is repeated.
const ECHOED: usize = 400;

pub(crate) struct OfflineProvider;

#[async_trait]
impl ModelProvider for OfflineProvider {
    async fn stream(&self, request: &ModelRequest) -> Result<ModelStream, ModelError> {
        let tokenizer = bpe_openai::o200k_base();
        let system = request.system.as_deref().map_or(0, |system| tokenizer.count(system));
        let prompt_tokens = (system + tokenizer.count(&request.prompt)) as u64;
        let answer = answer(request, prompt_tokens);
        let tokens: Vec<u32> =
            tokenizer.encode(answer.as_str()).into_iter().take(request.max_tokens as usize).collect();
        let completion_tokens = tokens.len() as u64;
        // A character may span two tokens, so pieces are cut from text and not from tokens.
        let text = tokenizer.decode(&tokens).unwrap_or(answer);
        let pieces: Vec<String> = text.split_inclusive(' ').map(str::to_owned).collect();

        let texts = stream::iter(pieces).then(|piece| async {
            tokio::time::sleep(PACE).await;
            Ok(ModelEvent::Text(piece))
        });
        let start = Ok(ModelEvent::Usage { prompt_tokens: Some(prompt_tokens), completion_tokens: None });
        let end = Ok(ModelEvent::Usage { prompt_tokens: None, completion_tokens: Some(completion_tokens) });
        Ok(stream::iter([start]).chain(texts).chain(stream::iter([end])).boxed())
    }

    async fn check(&self) -> Result<(), ModelError> {
        Ok(())
    }
}

fn answer(request: &ModelRequest, prompt_tokens: u64) -> String {
    let words = request.prompt.split_whitespace().count();
    let beginning: String = request.prompt.chars().take(ECHOED).collect();
    let cut = if beginning.len() < request.prompt.len() { " …" } else { "" };
    format!(
        "[offline answer, no model was called] This is what {} would have been asked: {words} words, {prompt_tokens} \
         tokens, beginning with:\n\n{beginning}{cut}",
        request.model
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer_to(prompt: &str, max_tokens: u32) -> (String, u64, u64, usize) {
        let request = ModelRequest {
            model: "any".into(),
            system: None,
            prompt: prompt.into(),
            max_tokens,
            temperature: None,
            top_p: None,
            top_k: None,
            stop_sequences: Vec::new(),
        };
        let events: Vec<_> = OfflineProvider.stream(&request).await.expect("always answers").collect().await;
        let (mut text, mut prompt_tokens, mut completion_tokens, mut pieces) = (String::new(), 0, 0, 0);
        for event in events {
            match event.expect("never fails") {
                ModelEvent::Text(piece) => {
                    text += &piece;
                    pieces += 1;
                }
                ModelEvent::Usage { prompt_tokens: p, completion_tokens: c } => {
                    prompt_tokens = p.unwrap_or(prompt_tokens);
                    completion_tokens = c.unwrap_or(completion_tokens);
                }
            }
        }
        (text, prompt_tokens, completion_tokens, pieces)
    }

    #[tokio::test]
    async fn the_same_prompt_gives_the_same_labelled_answer_in_pieces() {
        let first = answer_to("Summarise in one line: Kijko keeps tenants apart.", 4096).await;
        assert_eq!(first, answer_to("Summarise in one line: Kijko keeps tenants apart.", 4096).await);
        assert!(first.0.starts_with("[offline answer"), "it must say what it is: {}", first.0);
        assert!(first.3 > 5, "it streams in pieces");
        assert_eq!(first.1, bpe_openai::o200k_base().count("Summarise in one line: Kijko keeps tenants apart.") as u64);
        assert_eq!(first.2, bpe_openai::o200k_base().count(first.0.as_str()) as u64);
    }

    #[tokio::test]
    async fn it_stops_at_the_token_limit() {
        let (_, _, completion_tokens, _) = answer_to("hello", 5).await;
        assert_eq!(completion_tokens, 5);
    }
}
