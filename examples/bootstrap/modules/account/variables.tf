variable "partition" {
  type        = string
  description = "The second part of every ARN, such as `aws`."
}

variable "account_id" {
  type        = string
  description = "The account that the roles are in."
}

variable "deploy_role" {
  type        = string
  description = "The name of the role that deploys."
}

variable "plan_role" {
  type        = string
  description = "The name of the role that plans."
}

variable "deployers" {
  type        = list(string)
  description = "The ARNs of those who may deploy."
}

variable "planners" {
  type        = list(string)
  description = "The ARNs of those who may plan."
}

variable "deploy_policies" {
  type        = list(string)
  description = "What the Terraform code may manage: ARNs of AWS, or names of policies in the account."
}

variable "plan_policies" {
  type        = list(string)
  description = "What a plan may read: ARNs of AWS, or names of policies in the account."
}

variable "plan_keys" {
  type        = list(string)
  description = "The key of stored plans, if there is one."
}

variable "lambda_bucket_arn" {
  type        = string
  description = "The bucket with the zips of Lambda functions."
}
