output "s3_key" {
  value = terraform_data.function.output.s3_key
}

output "source_code_hash" {
  value = terraform_data.function.output.source_code_hash
}
