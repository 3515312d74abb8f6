output "bucket" {
  value = aws_s3_bucket.uploads.id
}

output "reader_role_arn" {
  value = aws_iam_role.reader.arn
}
