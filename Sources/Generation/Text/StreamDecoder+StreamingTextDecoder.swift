import Tokenizers

extension StreamDecoder: StreamingTextDecoder {}
