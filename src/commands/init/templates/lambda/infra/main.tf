# No backend here: cdflow adds it from the account scheme. With providers, commit the lock file that
# `terraform providers lock` writes.
terraform {
  required_version = ">= 1.6"
}

# Stands in for the function, so that this deploys without a cloud: what a function would be made of. A new zip is a
# change, an equal one none.
resource "terraform_data" "function" {
  input = {
    s3_bucket        = var.release["s3_bucket"]
    s3_key           = var.release["s3_key"]
    source_code_hash = var.release["source_code_hash"]
    handler          = "handler.handle"
    memory_size      = var.memory_mb
    greeting         = var.greeting
  }
}

# On AWS, put this in its place (and the provider into `required_providers`, and an account scheme with accounts and
# buckets into cdflow.yml). A role and a log group go with it: cdflow's examples/lambda-component has all of it.
#
# resource "aws_lambda_function" "function" {
#   function_name    = "${var.release["component"]}-${var.env}"
#   role             = aws_iam_role.function.arn
#   runtime          = "python3.12"
#   handler          = "handler.handle"
#   memory_size      = var.memory_mb
#   s3_bucket        = var.release["s3_bucket"]
#   s3_key           = var.release["s3_key"]
#   source_code_hash = var.release["source_code_hash"]
#
#   environment {
#     variables = {
#       GREETING = var.greeting
#     }
#   }
# }
