"""The policy language: documents, expressions, decisions. Only its engine can say allow."""
